module zstack/compat

go 1.19
