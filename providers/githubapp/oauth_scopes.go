package githubapp

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// levels of a GitHub App's permission, each of which includes those before.
var levels = []string{"read", "write", "admin"}

var permissionForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,99}:(read|write|admin)$`)

// permissionScopes writes the permissions of an installation as scopes, each with
// the levels that it includes: "issues:read", "issues:write". Nil means that
// nothing was said.
func permissionScopes(permissions map[string]string) []string {
	if permissions == nil {
		return nil
	}
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(permissions)) {
		for i := range slices.Index(levels, permissions[name]) + 1 {
			out = append(out, name+":"+levels[i])
		}
	}
	return out
}

// included are the scopes of an OAuth App that are part of others
// (docs.github.com, "Scopes for OAuth apps", checked 2026-11).
var included = map[string][]string{
	"repo":             {"repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"},
	"admin:repo_hook":  {"write:repo_hook", "read:repo_hook"},
	"write:repo_hook":  {"read:repo_hook"},
	"admin:org":        {"write:org", "read:org"},
	"write:org":        {"read:org"},
	"admin:public_key": {"write:public_key", "read:public_key"},
	"write:public_key": {"read:public_key"},
	"user":             {"read:user", "user:email", "user:follow"},
	"project":          {"read:project"},
	"admin:gpg_key":    {"write:gpg_key", "read:gpg_key"},
	"write:gpg_key":    {"read:gpg_key"},
	"admin:enterprise": {"manage_runners:enterprise", "manage_billing:enterprise", "read:enterprise"},
}

// allScopes adds what granted scopes include: GitHub leaves those out of its
// answer even when they were asked for.
func allScopes(granted []string) []string {
	out := []string{}
	for _, s := range granted {
		for _, s := range append([]string{s}, included[s]...) {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// leastScopes leaves out what other scopes include.
func leastScopes(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool {
		return slices.ContainsFunc(scopes, func(other string) bool { return slices.Contains(included[other], s) })
	})
}

// missingScope reads what a 403 says the token lacks, nil when it is about
// something else. An App's token lacks a permission: the header names sets of them,
// any of which is enough (github.blog/changelog, "X-Accepted-GitHub-Permissions
// header for fine-grained permission actors", checked 2026-11). An OAuth App's lacks
// every scope that the call accepts (docs.github.com, "Scopes for OAuth apps",
// checked 2026-11).
func missingScope(h http.Header, message string) error {
	if strings.HasPrefix(message, "Resource not accessible by integration") {
		var need []string
		for _, p := range words(h.Get("X-Accepted-GitHub-Permissions")) {
			need = append(need, strings.Replace(p, "=", ":", 1))
		}
		return &providers.MissingScopeError{Need: providers.PlainScopes(need)}
	}
	accepted := words(h.Get("X-Accepted-OAuth-Scopes"))
	if len(accepted) == 0 || len(h.Values("X-OAuth-Scopes")) == 0 {
		return nil
	}
	granted := allScopes(words(h.Get("X-OAuth-Scopes")))
	if slices.ContainsFunc(accepted, func(s string) bool { return slices.Contains(granted, s) }) {
		return nil
	}
	return &providers.MissingScopeError{Need: providers.PlainScopes(accepted)}
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ';' || r == ' ' })
}

// PermissionsURL implements providers.PermissionsPage: what a GitHub App may do is
// in its settings, and whoever administers an installation accepts it at the page
// of that installation, which answers of the API name as its html_url. A user's
// tokens may do what the installations allow. The scopes of an OAuth App are asked
// for by connecting: the error wraps errors.ErrUnsupported.
func (a *App) PermissionsURL(s providers.Snapshot) (string, error) {
	if a.cfg.Mode == ModeOAuthApp {
		return "", errNoPage
	}
	acc, err := ReadAccount(s)
	if err != nil {
		return "", err
	}
	path := "/settings/installations"
	if a.cfg.Mode == ModeInstallation {
		if acc.Type == "Organization" {
			path = "/organizations/" + url.PathEscape(acc.Login) + path
		}
		id, err := strconv.ParseInt(s.ExternalID, 10, 64)
		if err != nil || id <= 0 || acc.Login == "" && acc.Type == "Organization" {
			return "", errNoPage
		}
		path += "/" + strconv.FormatInt(id, 10)
	}
	return "https://" + a.site.web + path, nil
}

var errNoPage = fmt.Errorf("integrations/githubapp: no page to accept permissions at: %w", errors.ErrUnsupported)
