package faultstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/store/storetest"
	"github.com/stretchr/testify/require"
)

// A store without faults keeps every promise of the one it wraps.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return faultstore.New(memstore.New()) })
}

func TestFaults(t *testing.T) {
	full := errors.New("the disk is full")
	c := store.Connect{ID: "i", TenantID: "t", Provider: "p", AccessToken: []byte{1}}
	st := faultstore.New(memstore.New())
	st.FailNth(1, faultstore.Before, full)
	_, err := st.Connect(t.Context(), c)
	require.ErrorIs(t, err, full)
	_, err = st.Get(t.Context(), "t", "i")
	require.ErrorIs(t, err, store.ErrNotFound)

	st.Reset()
	st.FailNth(1, faultstore.After, full)
	_, err = st.Connect(t.Context(), c)
	require.ErrorIs(t, err, full)
	_, err = st.Get(t.Context(), "t", "i")
	require.NoError(t, err, "the row is there all the same")
	require.Equal(t, []string{"Connect", "Get"}, st.Calls())

	st.Fail(func(_ int, method string) (faultstore.When, error) {
		if method == "Delete" {
			return faultstore.Before, full
		}
		return faultstore.Before, nil
	})
	require.ErrorIs(t, st.Delete(t.Context(), "t", "i"), full)
	require.NoError(t, st.Check(t.Context()))
	st.Fail(nil)
	require.NoError(t, st.Delete(t.Context(), "t", "i"))
}

func ExampleNew() {
	st := faultstore.New(memstore.New())
	st.FailNth(1, faultstore.Before, errors.New("the disk is full"))
	_, err := st.List(context.Background(), "tenant-1")
	fmt.Println(err, st.Calls())
	// Output: the disk is full [List]
}
