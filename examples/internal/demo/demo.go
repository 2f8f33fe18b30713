// Package demo runs the example programs: each against a fake of its service in
// this process, or against the real one when credentials are in the environment.
package demo

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
)

// Tenant is the tenant of the programs.
const Tenant = "demo"

// Program is an example program for one provider.
type Program struct {
	// Key is the provider's key.
	Key string
	// Fake is the provider at the kit's fake of it.
	Fake func(kit *integrationstest.Kit) providers.Provider
	// Real is the provider itself, nil when its credentials are not in the
	// environment.
	Real func(getenv func(string) string) providers.Provider
	// Handlers registers handlers of webhooks. Optional.
	Handlers func(m *integrations.Manager)
	// Use is what the program shows once the tenant has connected.
	Use func(ctx context.Context, conn *providers.Connection) error
	// Deliver lets the fake send webhooks, which then are handled. Optional.
	Deliver func(ctx context.Context, kit *integrationstest.Kit, conn *providers.Connection) error
}

// Main runs the program and ends the process with 1 if it fails.
func (p Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := p.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, p.Key+":", err)
		os.Exit(1)
	}
}

// Run runs the program: the real service where Real finds credentials, else the
// fake.
func (p Program) Run(ctx context.Context) error {
	if real := p.Real(os.Getenv); real != nil {
		return p.serve(ctx, real)
	}
	return p.fake(ctx)
}

// Say prints a step.
func Say(format string, args ...any) { fmt.Printf("- "+format+"\n", args...) }

// failure ends the program where the kit would end a test.
type failure struct{}

func (failure) Helper() {}

func (failure) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func (p Program) fake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	Say("no credentials in the environment: a fake %s in this process", p.Key)
	kit := integrationstest.New(failure{})
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{p.Fake(kit)}
	m := kit.Use(cfg)
	if p.Handlers != nil {
		p.Handlers(m)
	}
	kit.Connect(Tenant, p.Key)
	conn, err := m.Connection(ctx, Tenant, p.Key)
	if err != nil {
		return err
	}
	Say("tenant %q has connected %s", Tenant, p.Key)
	if err := p.Use(ctx, conn); err != nil {
		return err
	}
	if p.Deliver != nil {
		if err := p.Deliver(ctx, kit, conn); err != nil {
			return err
		}
		if err := m.Drain(ctx); err != nil { // a server calls Run instead
			return err
		}
	}
	if err := m.Disconnect(ctx, Tenant, conn.IntegrationID()); err != nil {
		return err
	}
	Say("disconnected")
	return nil
}
