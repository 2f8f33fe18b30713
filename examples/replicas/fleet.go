package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// fleet are the replicas' processes.
type fleet struct {
	cancel  context.CancelFunc
	members []*member
}

type member struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// startFleet starts this program again as often as there are replicas. They are
// killed when ctx ends; stop ends them.
func startFleet(ctx context.Context, o orders) (_ *fleet, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &fleet{cancel: cancel}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	for i := range replicas {
		m := &member{name: fmt.Sprintf("replica-%d", i+1)}
		m.cmd = exec.CommandContext(ctx, self)
		m.cmd.Env = append(os.Environ(), replicaEnv+"="+m.name)
		m.cmd.Stderr = os.Stderr
		if m.in, err = m.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		out, err := m.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		m.out = json.NewDecoder(out)
		if err := m.cmd.Start(); err != nil {
			return nil, err
		}
		f.members = append(f.members, m)
		// The key goes through a pipe: an environment can be read by others.
		if _, err := fmt.Fprintf(m.in, "%s\n", told); err != nil {
			return nil, fmt.Errorf("%s does not listen: %w", m.name, err)
		}
	}
	return f, nil
}

func (f *fleet) pids() []int {
	var out []int
	for _, m := range f.members {
		out = append(out, m.cmd.Process.Pid)
	}
	return out
}

// ready waits until every replica has said that it is.
func (f *fleet) ready() error {
	_, err := f.hear()
	return err
}

// ask lets all replicas ask for the token now.
func (f *fleet) ask() ([]answer, error) {
	for _, m := range f.members {
		if _, err := fmt.Fprintln(m.in, "now"); err != nil {
			return nil, fmt.Errorf("%s does not listen: %w", m.name, err)
		}
	}
	return f.hear()
}

// hear reads one answer of each replica. One that has ended has none, and has said
// why on its standard error.
func (f *fleet) hear() ([]answer, error) {
	out := make([]answer, len(f.members))
	var errs []error
	for i, m := range f.members {
		if err := m.out.Decode(&out[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s has not answered: %w", m.name, err))
		}
	}
	return out, errors.Join(errs...)
}

// stop ends the replicas: by the end of their input, and those that do not mind it
// by force. When it returns none is left.
func (f *fleet) stop() {
	for _, m := range f.members {
		_ = m.in.Close()
	}
	force := time.AfterFunc(5*time.Second, f.cancel)
	defer force.Stop()
	for _, m := range f.members {
		_ = m.cmd.Wait() // what went wrong is known: it did not answer
	}
	f.cancel()
}
