// SPDX-License-Identifier: BSD-3-Clause
// A server and a client that use what Go has for the network: `serve HOST PORT`, `ask HOST PORT FILE`.
//
// The server says `ready`, or, started again by itself with its listeners as files, `took over`. SIGHUP: it starts itself so and ends
// when its last connection has. The client prints what it found in order, and ends with 1 at the first thing that is not right.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Println("wrong:", err)
		os.Exit(1)
	}
}

func check(ok bool, what string) {
	if !ok {
		must(errors.New(what))
	}
	fmt.Println(what)
}

// ---- Server ----

// HTTP on the port: files by sendfile, bodies back. TCP on the next one: what comes goes back by splice. UDP on the one after that.
type server struct {
	tcp   []*net.TCPListener
	udp   *net.UDPConn
	web   *http.Server
	conns sync.WaitGroup
}

func open(host string, port int) *server {
	s := &server{}
	for i := 0; i < 2; i++ {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(host), Port: port + i})
		must(err)
		s.tcp = append(s.tcp, l)
	}
	var err error
	s.udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: port + 2})
	must(err)
	return s
}

func inherit() *server {
	s := &server{}
	for i := 0; i < 2; i++ {
		l, err := net.FileListener(os.NewFile(uintptr(3+i), "listener"))
		must(err)
		s.tcp = append(s.tcp, l.(*net.TCPListener))
	}
	c, err := net.FilePacketConn(os.NewFile(5, "udp"))
	must(err)
	s.udp = c.(*net.UDPConn)
	return s
}

func (s *server) echo() {
	for {
		c, err := s.tcp[1].AcceptTCP()
		if err != nil {
			return
		}
		s.conns.Add(1)
		go func() {
			defer s.conns.Done()
			defer c.Close()
			io.Copy(c, c)
			c.CloseWrite()
		}()
	}
}

func (s *server) datagrams() {
	buf := make([]byte, 65536)
	for {
		n, from, err := s.udp.ReadFromUDP(buf)
		if err != nil {
			return
		}
		s.udp.WriteToUDP(buf[:n], from)
	}
}

func (s *server) handOver() {
	again := exec.Command("/proc/self/exe", "inherit")
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	for _, l := range s.tcp {
		f, err := l.File()
		must(err)
		again.ExtraFiles = append(again.ExtraFiles, f)
	}
	f, err := s.udp.File()
	must(err)
	again.ExtraFiles = append(again.ExtraFiles, f)
	must(again.Start())
}

func (s *server) run(word string) {
	mux := http.NewServeMux()
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(os.TempDir()))))
	mux.HandleFunc("/back", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	mux.HandleFunc("/pid", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getpid()) })
	s.web = &http.Server{Handler: mux}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	go s.web.Serve(s.tcp[0])
	go s.echo()
	go s.datagrams()
	fmt.Println(word)
	for sig := range signals {
		if sig == syscall.SIGHUP {
			s.handOver()
		}
		for _, l := range s.tcp {
			l.Close()
		}
		s.udp.Close()
		if sig == syscall.SIGHUP {
			s.conns.Wait()
		}
		return
	}
}

// ---- Client ----

func fetch(url string, body io.Reader) []byte {
	var r *http.Response
	var err error
	if body == nil {
		r, err = http.Get(url)
	} else {
		r, err = http.Post(url, "application/octet-stream", body)
	}
	must(err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	must(err)
	return text
}

func bytesOf(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8)*31 ^ byte(i) + seed
	}
	return b
}

// One connection: so many bytes there and back, read while they are written, then an end each way.
func echoed(address string, n int, seed byte) bool {
	c, err := net.Dial("tcp", address)
	must(err)
	defer c.Close()
	sent, got := sha256.New(), sha256.New()
	go func() {
		for left := bytesOf(n, seed); len(left) > 0; {
			piece := left[:1+(len(left)-1)%50000]
			sent.Write(piece)
			if _, err := c.Write(piece); err != nil {
				return
			}
			left = left[len(piece):]
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	m, err := io.Copy(got, c)
	return err == nil && int(m) == n && bytes.Equal(sent.Sum(nil), got.Sum(nil))
}

func together(n int, what func(i int) bool) bool {
	var all sync.WaitGroup
	wrong := int64(0)
	for i := 0; i < n; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			if !what(i) {
				atomic.AddInt64(&wrong, 1)
			}
		}(i)
	}
	all.Wait()
	return wrong == 0
}

func timesOut(address string) bool {
	c, err := net.Dial("tcp", address)
	must(err)
	defer c.Close()
	must(c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	late, ok := err.(net.Error)
	if !ok || !late.Timeout() {
		return false
	}
	must(c.SetReadDeadline(time.Time{}))
	c.Write([]byte("x"))
	b := make([]byte, 2)
	n, err := c.Read(b)
	return err == nil && n == 1 && b[0] == 'x'
}

// A datagram may be lost, but not all of them.
func datagram(address string, n int) bool {
	c, err := net.Dial("udp", address)
	must(err)
	defer c.Close()
	for try := 0; try < 20; try++ {
		c.Write(bytesOf(n, 7))
		b := make([]byte, 65536)
		c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if m, err := c.Read(b); err == nil {
			return bytes.Equal(b[:m], bytesOf(n, 7))
		}
	}
	return false
}

func ask(host string, port int, file string) {
	at := func(i int) string { return fmt.Sprintf("%s:%d", host, port+i) }
	url := "http://" + at(0)
	want, err := os.ReadFile(os.TempDir() + "/" + file)
	must(err)
	check(bytes.Equal(fetch(url+"/files/"+file, nil), want), "a file")
	check(together(20, func(i int) bool {
		b := bytesOf(100000+i, byte(i))
		return bytes.Equal(fetch(url+"/back", bytes.NewReader(b)), b)
	}), "20 bodies at a time")
	check(echoed(at(1), 20000000, 1), "a stream")
	check(together(50, func(i int) bool { return echoed(at(1), 1000*i, byte(i)) }), "50 streams at a time")
	check(timesOut(at(1)), "a deadline")
	check(datagram(at(2), 1000), "a datagram")
	must(exec.Command("/bin/true").Run())
	check(echoed(at(1), 100000, 2), "after a program was run")
}

func main() {
	var host, file string
	var port int
	if len(os.Args) > 1 && os.Args[1] == "inherit" {
		inherit().run("took over")
		return
	}
	if len(os.Args) > 3 {
		host = os.Args[2]
		fmt.Sscan(os.Args[3], &port)
	}
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		open(host, port).run("ready")
	} else if len(os.Args) == 5 && os.Args[1] == "ask" {
		file = os.Args[4]
		ask(host, port, file)
	} else {
		fmt.Println("usage: serve HOST PORT | ask HOST PORT FILE")
		os.Exit(2)
	}
}
