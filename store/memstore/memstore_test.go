package memstore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memstore.New() })
}

func ExampleNew() {
	var s store.Store = memstore.New()
	_, err := s.Find(context.Background(), "tenant-1", "slack", "")
	fmt.Println(err)
	// Output: integrations/store/memstore: integration: integrations/store: not found
}
