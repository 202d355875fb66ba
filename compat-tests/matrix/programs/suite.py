# SPDX-License-Identifier: BSD-3-Clause
"""Runs tests of unittest or trial and writes {name: "pass"|"fail"|"skip"} as JSON.
suite.py unittest|trial OUT NAME...; a NAME is a module, a package (trial) or a test."""
import json
import sys
import unittest

kind, out, names = sys.argv[1], sys.argv[2], sys.argv[3:]
RANK = {"pass": 0, "skip": 1, "fail": 2}


class Recorder(unittest.TextTestResult):
    verdicts = {}

    def note(self, test, verdict):
        # A test of trial reports several errors, some of them at its end.
        before = self.verdicts.get(test.id(), "pass")
        self.verdicts[test.id()] = max(before, verdict, key=RANK.__getitem__)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "pass")

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, "fail")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, "fail")

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.note(test, "fail")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skip")

    def addExpectedFailure(self, test, *rest):
        self.note(test, "skip")

    def addUnexpectedSuccess(self, test, *rest):
        self.note(test, "skip")


def load():
    if kind == "unittest":
        return unittest.defaultTestLoader.loadTestsFromNames(names)
    from twisted.trial.runner import TestLoader

    return TestLoader().loadByNames(names, recurse=True)


def run():
    if kind == "unittest":
        # As `python -m tornado.test` does: its tests check what is logged.
        import logging


        logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    unittest.TextTestRunner(resultclass=Recorder, verbosity=2).run(load())


try:
    run()
finally:
    with open(out, "w") as file:
        json.dump(Recorder.verdicts, file)
