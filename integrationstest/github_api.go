package integrationstest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// installation returns an installation as it is now, nil when there is none.
func (g *GitHub) installation(id int64) *githubInstallation {
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.installations[id]
	if in == nil {
		return nil
	}
	now := *in
	return &now
}

// found returns the installation of a request, nil after answering 404.
func (g *GitHub) found(w http.ResponseWriter, r *http.Request) *githubInstallation {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	in := g.installation(id)
	if err != nil || in == nil || in.gone || in.appID != githubAppID {
		message(w, http.StatusNotFound, "Not Found")
		return nil
	}
	return in
}

func (g *GitHub) mint(w http.ResponseWriter, r *http.Request) {
	if !g.app(w, r) {
		return
	}
	in := g.found(w, r)
	if in == nil {
		return
	}
	if !in.suspendedAt.IsZero() {
		message(w, http.StatusForbidden, "This installation has been suspended")
		return
	}
	token := g.Tokens.mint(strconv.FormatInt(in.id, 10), mintedLife)
	g.mu.Lock()
	g.mints++
	g.minted[token] = in.permissions
	g.mu.Unlock()
	writeJSON(w, http.StatusCreated, map[string]any{
		"token": token, "expires_at": time.Now().Add(mintedLife).UTC().Format(time.RFC3339),
		"permissions": in.permissions, "repository_selection": "selected",
	})
}

// permissions are those of a new installation.
func permissions() map[string]string {
	return map[string]string{"contents": "read", "issues": "read", "metadata": "read", "pull_requests": "read"}
}

// permits answers 403 when the token of a request is an installation's that lacks a
// permission. It needs the lock.
func (g *GitHub) permits(w http.ResponseWriter, r *http.Request, name, level string) bool {
	have, minted := g.minted[bearer(r)]
	if !minted || have[name] == level || have[name] == "write" {
		return true
	}
	w.Header().Set("X-Accepted-GitHub-Permissions", name+"="+level)
	message(w, http.StatusForbidden, "Resource not accessible by integration")
	return false
}

func (in *githubInstallation) json() map[string]any {
	m := map[string]any{
		"id": in.id, "app_id": in.appID, "account": map[string]any{"login": in.login, "id": in.id * 10, "type": "Organization"},
		"permissions": in.permissions, "repository_selection": "selected", "suspended_at": nil, "updated_at": in.updatedAt.UTC().Format(time.RFC3339),
	}
	if !in.suspendedAt.IsZero() {
		m["suspended_at"] = in.suspendedAt.UTC().Format(time.RFC3339)
	}
	return m
}

func (g *GitHub) getInstallation(w http.ResponseWriter, r *http.Request) {
	if g.app(w, r) {
		if in := g.found(w, r); in != nil {
			writeJSON(w, http.StatusOK, in.json())
		}
	}
}

func (g *GitHub) deleteInstallation(w http.ResponseWriter, r *http.Request) {
	if !g.app(w, r) {
		return
	}
	in := g.found(w, r)
	if in == nil {
		return
	}
	g.change(in.id, func(in *githubInstallation) { in.gone = true })
	g.Tokens.Revoke(strconv.FormatInt(in.id, 10))
	w.WriteHeader(http.StatusNoContent)
}

// subject answers 401 unless the request has a good token.
func (g *GitHub) subject(w http.ResponseWriter, r *http.Request) (string, bool) {
	who, _, ok := g.Tokens.authorize(bearer(r))
	if !ok {
		message(w, http.StatusUnauthorized, "Bad credentials")
	}
	return who, ok
}

func (g *GitHub) user(w http.ResponseWriter, r *http.Request) {
	login, ok := g.subject(w, r)
	if !ok {
		return
	}
	g.mu.Lock()
	id := g.userIDs[login]
	if id == 0 {
		id = int64(len(g.userIDs) + 1)
		g.userIDs[login] = id
	}
	g.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"login": login, "id": id, "type": "User"})
}

// userInstallations lists what a user may manage, of any App, in pages.
func (g *GitHub) userInstallations(w http.ResponseWriter, r *http.Request) {
	login, ok := g.subject(w, r)
	if !ok {
		return
	}
	g.mu.Lock()
	var all []*githubInstallation
	for _, in := range g.installations {
		if !in.gone && slices.Contains(in.users, login) {
			all = append(all, in)
		}
	}
	g.mu.Unlock()
	slices.SortFunc(all, func(a, b *githubInstallation) int { return cmp.Compare(a.id, b.id) })
	page := pageOf(w, r, all)
	list := make([]any, len(page))
	for i, in := range page {
		list[i] = in.json()
	}
	writeJSON(w, http.StatusOK, map[string]any{"total_count": len(all), "installations": list})
}

func (g *GitHub) repositories(w http.ResponseWriter, r *http.Request) {
	subject, ok := g.subject(w, r)
	if !ok {
		return
	}
	id, _ := strconv.ParseInt(subject, 10, 64)
	g.mu.Lock()
	in, suspended := g.installations[id], false
	var repos []any
	if in != nil {
		suspended = !in.suspendedAt.IsZero()
		for _, r := range in.visible() {
			repos = append(repos, in.repoJSON(r))
		}
	}
	g.mu.Unlock()
	if in == nil {
		message(w, http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	if suspended {
		message(w, http.StatusForbidden, "This installation has been suspended")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"total_count": len(repos), "repositories": append([]any{}, pageOf(w, r, repos)...)})
}

// userRepositories lists the repositories of all installations a user may manage.
func (g *GitHub) userRepositories(w http.ResponseWriter, r *http.Request) {
	login, ok := g.subject(w, r)
	if !ok {
		return
	}
	g.mu.Lock()
	var repos []map[string]any
	for _, in := range g.installations {
		if !in.gone && slices.Contains(in.users, login) {
			for _, repo := range in.visible() {
				repos = append(repos, in.repoJSON(repo))
			}
		}
	}
	g.mu.Unlock()
	slices.SortFunc(repos, func(a, b map[string]any) int { return cmp.Compare(a["id"].(int64), b["id"].(int64)) })
	writeJSON(w, http.StatusOK, append([]map[string]any{}, pageOf(w, r, repos)...))
}

func (g *GitHub) revokeToken(w http.ResponseWriter, r *http.Request) {
	if _, ok := g.subject(w, r); ok {
		g.Tokens.kill(bearer(r))
		w.WriteHeader(http.StatusNoContent)
	}
}

func (g *GitHub) revokeUserToken(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := r.BasicAuth()
	if !ok || id != g.clientID || secret != g.clientSecret || r.PathValue("client") != g.clientID {
		message(w, http.StatusUnauthorized, "Bad credentials")
		return
	}
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if decodeBody(r, &body) != nil || !g.Tokens.kill(body.AccessToken) {
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
