package providers_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

// scoped is a source of an integration with some scopes.
type scoped struct {
	source
	scopes []string
	err    error
}

func (s *scoped) Snapshot(context.Context) (providers.Snapshot, error) {
	return providers.Snapshot{Scopes: s.scopes}, s.err
}

func TestRequireScopes(t *testing.T) {
	for _, c := range []struct {
		granted, wanted, missing []string
	}{
		{[]string{"read", "write"}, []string{"read"}, nil},
		{[]string{"read", "write"}, nil, nil},
		{[]string{"read"}, []string{"write", "read", "admin"}, []string{"write", "admin"}},
		{[]string{}, []string{"read"}, []string{"read"}},
		{nil, []string{"read"}, nil}, // nobody knows
	} {
		conn := connect(t, &scoped{scopes: c.granted}, nil)
		err := conn.RequireScopes(t.Context(), c.wanted...)
		if c.missing == nil {
			require.NoError(t, err)
			continue
		}
		var missing *providers.MissingScopeError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, c.missing, missing.Need)
		require.ErrorIs(t, err, providers.ErrForbidden)
	}
	require.ErrorIs(t, connect(t, &scoped{err: providers.ErrDisconnected}, nil).RequireScopes(t.Context(), "read"), providers.ErrDisconnected)
}

func TestInsufficientScope(t *testing.T) {
	for challenge, need := range map[string][]string{
		`Bearer realm="example", error="insufficient_scope", scope="read write"`:                     {"read", "write"},
		`Bearer error="insufficient_scope"`:                                                          nil,
		`Bearer error="insufficient_scope", scope="https://www.googleapis.com/auth/drive <planted>"`: {"https://www.googleapis.com/auth/drive"},
	} {
		err := providers.StatusMeaning(http.StatusForbidden, http.Header{"Www-Authenticate": {challenge}})
		var missing *providers.MissingScopeError
		require.ErrorAs(t, err, &missing, challenge)
		require.Equal(t, need, missing.Need, challenge)
		require.NotContains(t, err.Error(), "planted")
	}
	for _, challenge := range []string{"", `Bearer error="invalid_token", scope="read"`} {
		require.Equal(t, providers.ErrForbidden, providers.StatusMeaning(http.StatusForbidden, http.Header{"Www-Authenticate": {challenge}}))
	}
}

func TestPlainScopes(t *testing.T) {
	scopes := []string{"repo", "repo:status", "https://www.googleapis.com/auth/drive.file", "crm.objects.contacts.read", "read:jira-work", "offline_access"}
	require.Equal(t, scopes, providers.PlainScopes(append(scopes, "", "repo", "a b", `"quoted"`, "<a>", "-x", strings.Repeat("x", 192))))
}
