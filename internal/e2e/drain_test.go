package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/saas-integrations/integrations"
)

// linger is how long a replica still uses tokens after its Shutdown returned, as
// a host whose last requests are slow.
const linger = 300 * time.Millisecond

// drained is what a replica reports when it was told to end.
type drained struct {
	Began, Ended time.Time // of Manager.Shutdown
	Err          string    // of it
	OK, Failed   int
	Errors       map[string]int // of Failed
}

// stream uses the tokens of all tenants, and runs the Manager, until SIGTERM.
func (o orders) stream(ctx context.Context, m *integrations.Manager) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	d := drained{Errors: map[string]int{}}
	var mu sync.Mutex
	var work sync.WaitGroup
	work.Go(func() { _ = m.Run(ctx) })
	stop := make(chan struct{})
	for range o.Callers {
		work.Go(func() {
			t := time.NewTicker(o.Stream)
			defer t.Stop()
			for i := rand.N(o.Tenants); ; i = (i + 1) % o.Tenants {
				select {
				case <-stop:
					return
				case <-t.C:
				}
				err := use(ctx, m, tenantName(i))
				mu.Lock()
				if err == nil {
					d.OK++
				} else if !errors.Is(err, integrations.ErrTransient) { // which says to try again: elsewhere
					d.Failed++
					d.Errors[err.Error()]++
				}
				mu.Unlock()
			}
		})
	}
	<-term
	d.Began = time.Now()
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := m.Shutdown(within); err != nil {
		d.Err = err.Error()
	}
	d.Ended = time.Now()
	<-time.After(linger)
	close(stop)
	work.Wait()
	return json.NewEncoder(os.Stdout).Encode(d)
}

// use asks for a tenant's token and calls nobody with it.
func use(ctx context.Context, m *integrations.Manager, tenant string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := m.Connection(ctx, tenant, replicaKey)
	if err != nil {
		return err
	}
	_, err = conn.Token(ctx)
	return err
}
