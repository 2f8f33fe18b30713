package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// soak says that tests run in full size.
var soak = os.Getenv("INTEGRATIONS_SOAK") == "1"

// sized is a number in CI and in full size.
func sized(small, full int) int {
	if soak {
		return full
	}
	return small
}

// floodEnv makes this test binary a server to flood: its memory is its own.
const floodEnv = "INTEGRATIONS_WEBHOOK_FLOOD"

func TestMain(m *testing.M) {
	if os.Getenv(floodEnv) != "" {
		if err := floodServer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// forgetful is an inbox that keeps nothing, so that what grows is not its.
type forgetful struct {
	store.Inbox
	calls atomic.Int64
}

func (f *forgetful) InsertDeliveries(_ context.Context, ds []store.Delivery) ([]bool, error) {
	f.calls.Add(1)
	isNew := make([]bool, len(ds))
	for i := range isNew {
		isNew[i] = true
	}
	return isNew, nil
}

// state is what the server tells of itself.
type state struct {
	RSS        int64
	Goroutines int
	Inserts    int64
	Routes     int64
}

// flooded is a receiver that counts what it asks of others.
func flooded(t testing.TB) (*webhook.Receiver, *forgetful, *atomic.Int64) {
	inbox, routes := &forgetful{}, &atomic.Int64{}
	rc := receiver(t, inbox, ring(t), func(cfg *webhook.ReceiverConfig) {
		cfg.Source.MaxBody = 25 << 20
		route := cfg.Route
		cfg.Route = func(ctx context.Context, account string) ([]webhook.Target, error) {
			routes.Add(1)
			return route(ctx, account)
		}
	})
	return rc, inbox, routes
}

func floodServer() error {
	t := &testing.T{}
	rc, inbox, routes := flooded(t)
	mux := http.NewServeMux()
	mux.Handle("/webhook", rc)
	mux.HandleFunc("/nothing", keepsNothing)
	mux.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) {
		b, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		pages, _ := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
		_ = json.NewEncoder(w).Encode(state{pages * int64(os.Getpagesize()), runtime.NumGoroutine(), inbox.calls.Load(), routes.Load()})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test is over
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// keepsNothing reads what a small buffer holds and refuses the rest: what it costs
// is what the connections cost the server.
func keepsNothing(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(r.Body, make([]byte, 2048)); err != io.ErrUnexpectedEOF {
		w.Header().Set("Connection", "close")
		http.Error(w, "", http.StatusRequestEntityTooLarge)
	}
}

// startFlooded starts the server in a process of its own and returns its address.
func startFlooded(t *testing.T) string {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip("memory is read from /proc")
	}
	cmd := exec.Command(os.Args[0])
	// As much garbage as half of what is in use, not as much again: what is to be
	// seen is what is in use.
	cmd.Env = append(os.Environ(), floodEnv+"=1", "GOGC=50")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		require.NoError(t, cmd.Wait())
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(address)
}

func stateOf(t *testing.T, address string) (s state) {
	t.Helper()
	resp, err := http.Get("http://" + address + "/state")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&s))
	return s
}

// honest are well-behaved senders. Each sends one webhook after the other with a
// pause, until stop is closed.
type honest struct {
	took []time.Duration
	bad  map[string]int
}

func sendHonestly(url string, senders int, pause time.Duration, stop <-chan struct{}) *honest {
	h := &honest{bad: map[string]int{}}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(pause):
				}
				body := fmt.Sprintf(`{"id":"%d-%d","account":"A","x":"%s"}`, i, n, strings.Repeat("x", 950))
				made := webhooktest.GitHub(url, githubSecret, "thing", "d", []byte(body))
				req, _ := http.NewRequest(http.MethodPost, made.URL.String(), strings.NewReader(body))
				req.Header = made.Header
				began, what := time.Now(), ""
				resp, err := client.Do(req)
				if err != nil {
					what = err.Error()
				} else {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						what = resp.Status
					}
				}
				mu.Lock()
				if h.took = append(h.took, time.Since(began)); what != "" {
					h.bad[what]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(h.took)
	return h
}

func (h *honest) p99() time.Duration { return h.took[len(h.took)*99/100] }

// flood is what came of endless and of slow senders.
type flood struct {
	*honest
	grown         int64 // in bytes
	refused, slow int64 // connections
}

// floodedBy lets senders of both kinds at a handler of a server of its own, with
// honest ones between them.
func floodedBy(t *testing.T, path string, each int, lasts time.Duration) flood {
	address := startFlooded(t)
	warm := make(chan struct{})
	time.AfterFunc(time.Second, func() { close(warm) })
	require.Empty(t, sendHonestly("http://"+address+path, 16, 5*time.Millisecond, warm).bad)
	before := stateOf(t, address)

	end := make(chan struct{})
	time.AfterFunc(lasts, func() { close(end) })
	var refused, slow atomic.Int64
	var senders sync.WaitGroup
	attack := func(pause time.Duration, chunk string, done *atomic.Int64) {
		senders.Go(func() {
			for {
				conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
				if err == nil {
					_, err = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: sha256="+strings.Repeat("0", 64)+"\r\nTransfer-Encoding: chunked\r\n\r\n")
				}
				for sent := 0; err == nil && sent < 1<<30; sent += len(chunk) {
					select {
					case <-end:
						_ = conn.Close()
						return
					case <-time.After(pause):
					}
					_, err = io.WriteString(conn, chunk)
				}
				if conn != nil {
					_ = conn.Close()
				}
				done.Add(1)
				select {
				case <-end:
					return
				case <-time.After(500 * time.Millisecond): // and again
				}
			}
		})
	}
	large := "8000\r\n" + strings.Repeat("x", 0x8000) + "\r\n"
	for range each {
		attack(20*time.Millisecond, large, &refused) // up to 1 GiB
		attack(500*time.Millisecond, "1\r\nx\r\n", &slow)
	}
	var most int64
	senders.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(250 * time.Millisecond):
				most = max(most, stateOf(t, address).RSS)
			}
		}
	})
	f := flood{honest: sendHonestly("http://"+address+path, 16, 50*time.Millisecond, end)}
	senders.Wait()
	f.grown, f.refused, f.slow = most-before.RSS, refused.Load(), slow.Load()
	require.Eventually(t, func() bool { return stateOf(t, address).Goroutines <= before.Goroutines+4 }, time.Minute, 100*time.Millisecond, "goroutines stay")
	return f
}

// TestW3OversizeAndSlow: senders of bodies without an end, and others that never
// come to theirs, take no more memory than the budget, besides what their
// connections cost the server, and honest ones are answered as soon as the machine
// allows.
func TestW3OversizeAndSlow(t *testing.T) {
	each, lasts := sized(100, 2000), time.Duration(sized(4, 30))*time.Second
	least := floodedBy(t, "/nothing", each, lasts)
	ours := floodedBy(t, "/webhook", each, lasts)
	for name, f := range map[string]flood{"a handler that keeps nothing": least, "ours": ours} {
		t.Logf("%s: %d senders of each kind, %d connections refused and %d cut off; memory grew by %d MiB; %d honest requests, %v at the 99th percentile",
			name, each, f.refused, f.slow, f.grown>>20, len(f.took), f.p99())
	}
	require.Positive(t, ours.refused)
	require.Empty(t, ours.bad, "honest requests that were not answered 200")
	require.LessOrEqual(t, ours.grown-least.grown, int64(64+64)<<20)
	most := 250 * time.Millisecond
	if !soak {
		most *= 40 // the machine of CI is shared
	}
	require.LessOrEqual(t, ours.p99(), max(most, 3*least.p99()))
}

// TestW4BadSignatureFlood: a request that is not signed costs no look at the store
// and little else, and keeps no honest one from being answered.
func TestW4BadSignatureFlood(t *testing.T) {
	t.Run("allocations", func(t *testing.T) {
		rc, inbox, routes := flooded(t)
		body := githubBody(1024)
		r := webhooktest.GitHub("https://app.example/acme/webhook", "another secret altogether", "push", "d", body)
		reader := rewound{bytes.NewReader(body)}
		r.Body = reader
		w := httptest.NewRecorder()
		rc.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code)
		out := discard{http.Header{}}
		n := testing.AllocsPerRun(1000, func() {
			reader.Reset(body)
			clear(out.h)
			rc.ServeHTTP(out, r)
		})
		require.LessOrEqual(t, n, 20.0)
		t.Logf("%.0f allocations", n)
		require.Zero(t, inbox.calls.Load()+routes.Load())
	})
	t.Run("flood", func(t *testing.T) {
		address := startFlooded(t)
		body := githubBody(1024)
		forged := webhooktest.GitHub("http://"+address+"/webhook", "another secret altogether", "push", "d", body)
		var request bytes.Buffer
		require.NoError(t, forged.Write(&request))
		end := make(chan struct{})
		time.AfterFunc(time.Duration(sized(2, 20))*time.Second, func() { close(end) })
		var sent, other atomic.Int64
		var senders sync.WaitGroup
		for range 32 {
			senders.Go(func() {
				conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				for {
					select {
					case <-end:
						return
					default:
					}
					if _, err := conn.Write(request.Bytes()); err != nil {
						t.Error(err)
						return
					}
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if sent.Add(1); resp.StatusCode != http.StatusUnauthorized {
						other.Add(1)
					}
				}
			})
		}
		began := time.Now()
		h := sendHonestly("http://"+address+"/webhook", 4, 20*time.Millisecond, end)
		senders.Wait()
		took := time.Since(began)
		require.Empty(t, h.bad)
		require.Zero(t, other.Load())
		s := stateOf(t, address)
		require.EqualValues(t, len(h.took), s.Routes, "routes are looked up for honest requests alone")
		require.LessOrEqual(t, s.Inserts, int64(len(h.took)))
		require.Positive(t, s.Inserts)
		t.Logf("%.0f forged requests a second refused; %d honest ones, %v at the 99th percentile", float64(sent.Load())/took.Seconds(), len(h.took), h.p99())
	})
}
