package integrationstest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/providers/githubapp"
)

const (
	githubAppID = 4711
	githubSlug  = "integrations-test"
	mintedLife  = time.Hour
)

// GitHub is a GitHub that lives in this process, with real answer shapes. The
// account of a browser is the organisation the App is installed on; the person is
// the browser's user.
type GitHub struct {
	// Tokens issues and counts users' and installations' tokens. A user's subject
	// is the login, an installation's is its id.
	Tokens *TokenServer

	kit                                   *Kit
	clientID, clientSecret, webhookSecret string
	key                                   *rsa.PrivateKey

	mu            sync.Mutex
	nextID        int64
	nextRepo      int64
	installations map[int64]*githubInstallation
	userIDs       map[string]int64
	mints         int
	quota         int
	charged       int
	etagSalt      string
	log           []*githubDelivery // the oldest first
	nextDelivery  int64
	offline       bool
	redelivered   []string
	minted        map[string]map[string]string // permissions by token
}

type githubInstallation struct {
	id, appID int64
	login     string
	users     []string // who may manage it
	repos     []*githubRepo
	gone      bool
	// suspendedAt is zero unless it is suspended, updatedAt is when anything about it
	// changed last.
	suspendedAt, updatedAt time.Time
	// permissions are those accepted. Tokens have them as they were.
	permissions map[string]string
}

// githubKey is one for the process: making one takes long and nothing is secret
// about it.
var githubKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("integrationstest: " + err.Error())
	}
	return key
})

func newGitHub(k *Kit) *GitHub {
	g := &GitHub{
		Tokens: newTokenServer("ghu_"), kit: k, clientID: "Iv1." + randomHex(), clientSecret: "secret-" + randomHex(),
		webhookSecret: randomHex(), key: githubKey(), nextID: 1000, installations: map[int64]*githubInstallation{},
		userIDs: map[string]int64{}, quota: 5000, minted: map[string]map[string]string{},
	}
	g.Tokens.SetLife(8 * time.Hour)
	g.Tokens.killsAccess = true
	site := http.NewServeMux()
	site.HandleFunc("GET /apps/{slug}/installations/new", g.installPage)
	site.HandleFunc("GET /login/oauth/authorize", g.authorizePage)
	site.HandleFunc("POST /login/oauth/access_token", g.token)
	k.Network.Handle("github.com", site)
	api := http.NewServeMux()
	api.HandleFunc("POST /app/installations/{id}/access_tokens", g.mint)
	api.HandleFunc("GET /app/installations/{id}", g.getInstallation)
	api.HandleFunc("DELETE /app/installations/{id}", g.deleteInstallation)
	api.HandleFunc("GET /app/hook/deliveries", g.listDeliveries)
	api.HandleFunc("POST /app/hook/deliveries/{id}/attempts", g.attemptDelivery)
	api.HandleFunc("GET /user", g.user)
	api.HandleFunc("GET /user/installations", g.userInstallations)
	api.HandleFunc("GET /installation/repositories", g.repositories)
	api.HandleFunc("GET /user/repos", g.userRepositories)
	g.repoRoutes(api)
	api.HandleFunc("DELETE /installation/token", g.revokeToken)
	api.HandleFunc("DELETE /applications/{client}/token", g.revokeUserToken)
	k.Network.Handle("api.github.com", g.withRate(api))
	return g
}

// App is the GitHub App registered at this fake.
func (g *GitHub) App() githubapp.Config {
	der := x509.MarshalPKCS1PrivateKey(g.key)
	return githubapp.Config{
		AppID: githubAppID, Slug: githubSlug, ClientID: g.clientID, ClientSecret: g.clientSecret,
		PrivateKeyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})),
		WebhookSecrets: []string{g.webhookSecret},
	}
}

// WebhookSecret signs this fake's webhooks.
func (g *GitHub) WebhookSecret() string { return g.webhookSecret }

// Install installs the App on an account on behalf of a user and returns the
// installation's id. The Manager is not told.
func (g *GitHub) Install(account, user string, repos ...string) int64 {
	return g.installAs(githubAppID, account, user, repos)
}

// InstallOther installs another company's App: its installations are listed for
// the user and must not be bound.
func (g *GitHub) InstallOther(account, user string) int64 {
	return g.installAs(githubAppID+1, account, user, nil)
}

func (g *GitHub) installAs(app int64, account, user string, repos []string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, in := range g.installations {
		if in.login == account && in.appID == app && !in.gone {
			if !slices.Contains(in.users, user) {
				in.users = append(in.users, user)
			}
			for _, name := range repos {
				g.addRepo(in, name)
			}
			return in.id
		}
	}
	g.nextID++
	if len(repos) == 0 {
		repos = []string{"api", "web"}
	}
	in := &githubInstallation{
		id: g.nextID, appID: app, login: account, users: []string{user}, updatedAt: time.Now(),
		permissions: permissions(),
	}
	for _, name := range repos {
		g.addRepo(in, name)
	}
	g.installations[g.nextID] = in
	return g.nextID
}

// Uninstall removes an installation: its tokens die and the Manager is told.
func (g *GitHub) Uninstall(id int64) int {
	g.change(id, func(in *githubInstallation) { in.gone = true })
	g.Tokens.Revoke(strconv.FormatInt(id, 10))
	return g.Deliver("installation", g.LifecycleBody(id, "deleted"))
}

// Accept grants an installation further permissions, by name and level, as its
// administrators do when the App's settings ask for them; the Manager is told.
func (g *GitHub) Accept(id int64, permissions map[string]string) int {
	g.change(id, func(in *githubInstallation) {
		in.permissions = maps.Clone(in.permissions)
		maps.Copy(in.permissions, permissions)
		in.updatedAt = time.Now()
	})
	return g.Deliver("installation", g.LifecycleBody(id, "new_permissions_accepted"))
}

// Suspend pauses an installation, Unsuspend ends the pause; the Manager is told.
func (g *GitHub) Suspend(id int64) int {
	g.change(id, func(in *githubInstallation) { in.suspendedAt, in.updatedAt = time.Now(), time.Now() })
	return g.Deliver("installation", g.LifecycleBody(id, "suspend"))
}

// Unsuspend ends the pause of an installation.
func (g *GitHub) Unsuspend(id int64) int {
	g.change(id, func(in *githubInstallation) { in.suspendedAt, in.updatedAt = time.Time{}, time.Now() })
	return g.Deliver("installation", g.LifecycleBody(id, "unsuspend"))
}

// AcceptPermissions gives an installation other permissions, as its owner does who
// accepts what the App asks for; the Manager is told.
func (g *GitHub) AcceptPermissions(id int64, permissions map[string]string) int {
	g.change(id, func(in *githubInstallation) { in.permissions, in.updatedAt = maps.Clone(permissions), time.Now() })
	return g.Deliver("installation", g.LifecycleBody(id, "new_permissions_accepted"))
}

// ChooseRepository adds a repository to an installation, or takes it away, as its
// owner does; the Manager is told.
func (g *GitHub) ChooseRepository(id int64, name string, add bool) int {
	action := "added"
	if add {
		g.AddRepository(id, name)
	} else {
		action = "removed"
		g.RemoveRepository(id, name)
	}
	g.change(id, func(in *githubInstallation) { in.updatedAt = time.Now() })
	return g.Deliver("installation_repositories", g.LifecycleBody(id, action, name))
}

func (g *GitHub) change(id int64, fn func(*githubInstallation)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if in := g.installations[id]; in != nil {
		fn(in)
	}
}

// Mints counts installation tokens.
func (g *GitHub) Mints() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mints
}

// Push delivers a push to a repository of an installation and returns the
// answer's status.
func (g *GitHub) Push(id int64, repo, ref string) int {
	return g.Deliver("push", g.PushBody(id, repo, ref))
}

// PushBody is the body of such a delivery.
func (g *GitHub) PushBody(id int64, repo, ref string) []byte {
	return mustJSON(map[string]any{
		"ref": ref, "before": strings.Repeat("0", 40), "after": randomHex() + randomHex()[:16],
		"repository": map[string]any{"id": g.repoID(id, repo), "name": repo, "full_name": g.login(id) + "/" + repo, "default_branch": githubBranch},
		"pusher":     map[string]any{"name": "someone"}, "sender": map[string]any{"id": 7, "login": "someone"},
		"installation": map[string]any{"id": id, "node_id": "MDIz"},
		"commits":      []any{map[string]any{"id": randomHex(), "message": "a change"}},
	})
}

// LifecycleBody is the body of an "installation" event as the installation is now:
// deleted, suspend, unsuspend, new_permissions_accepted. With the names of
// repositories it is that of an "installation_repositories" event: added, removed.
func (g *GitHub) LifecycleBody(id int64, action string, repos ...string) []byte {
	in := g.installation(id)
	if in == nil {
		in = &githubInstallation{id: id, appID: githubAppID, login: "unknown"}
	}
	body := map[string]any{"action": action, "installation": in.json(), "sender": map[string]any{"id": 7, "login": "someone"}}
	if len(repos) == 0 {
		body["repositories"] = []any{}
		return mustJSON(body)
	}
	list := []any{}
	for _, name := range repos {
		list = append(list, map[string]any{"id": g.repoID(id, name), "name": name, "full_name": in.login + "/" + name, "private": true})
	}
	body["repository_selection"], body["repositories_added"], body["repositories_removed"] = "selected", []any{}, []any{}
	body["repositories_"+action] = list
	return mustJSON(body)
}

// repoID is the id of a repository, 0 for one that is not there.
func (g *GitHub) repoID(id int64, name string) int64 {
	var repo int64
	g.change(id, func(in *githubInstallation) {
		for _, r := range in.repos {
			if r.name == name {
				repo = r.id
			}
		}
	})
	return repo
}

func (g *GitHub) login(id int64) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if in := g.installations[id]; in != nil {
		return in.login
	}
	return "unknown"
}

// Deliver signs a body and delivers it to the Manager as an event under an id of
// its own. It returns the answer's status, 0 while it is [GitHub.Offline].
func (g *GitHub) Deliver(event string, body []byte) int { return g.Redeliver(event, randomHex(), body) }

// Redeliver is Deliver under a given delivery id.
func (g *GitHub) Redeliver(event, delivery string, body []byte) int {
	return g.attempt(&githubDelivery{guid: delivery, event: event, body: body})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("integrationstest: " + err.Error())
	}
	return b
}

// installPage is where a user installs the App; the callback gets a code because
// the App asks for authorization during installation.
func (g *GitHub) installPage(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("slug") != githubSlug {
		http.NotFound(w, r)
		return
	}
	user := userOf(r)
	id := g.Install(accountOf(r), user)
	extra := url.Values{"installation_id": {strconv.FormatInt(id, 10)}, "setup_action": {"install"}}
	back(w, r, g.Tokens, g.clientID, g.kit.callbackURL(githubapp.Key), user, extra)
}

func (g *GitHub) authorizePage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != g.clientID {
		http.Error(w, "bad client", http.StatusBadRequest)
		return
	}
	back(w, r, g.Tokens, g.clientID, q.Get("redirect_uri"), userOf(r), nil)
}

// token is login/oauth/access_token: a form unless JSON is asked for, errors with
// HTTP 200.
func (g *GitHub) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f := r.PostForm
	answer := url.Values{}
	var out issued
	ok := true
	switch {
	case f.Get("client_id") != g.clientID || f.Get("client_secret") != g.clientSecret:
		answer.Set("error", "incorrect_client_credentials")
		ok = false
	case f.Get("grant_type") == "refresh_token":
		if out, ok = g.Tokens.renew(f.Get("refresh_token")); !ok {
			answer.Set("error", "bad_refresh_token")
		}
	default:
		if out, ok = g.Tokens.exchange(f.Get("code"), g.clientID, f.Get("redirect_uri"), f.Get("code_verifier")); !ok {
			answer.Set("error", "bad_verification_code")
		}
	}
	if ok {
		answer.Set("access_token", out.access)
		answer.Set("token_type", "bearer")
		answer.Set("scope", strings.Join(normalized(out.scopes), ","))
		if out.life > 0 {
			answer.Set("expires_in", strconv.Itoa(int(out.life.Seconds())))
		}
		if out.refresh != "" {
			answer.Set("refresh_token", out.refresh)
			answer.Set("refresh_token_expires_in", "15811200")
		}
	}
	if !strings.Contains(r.Header.Get("Accept"), "json") {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		_, _ = w.Write([]byte(answer.Encode()))
		return
	}
	m := map[string]any{}
	for k := range answer {
		m[k] = answer.Get(k)
		if n, err := strconv.Atoi(answer.Get(k)); err == nil {
			m[k] = n
		}
	}
	writeJSON(w, http.StatusOK, m)
}

// normalized leaves out scopes that others include, as GitHub does.
func normalized(scopes []string) []string {
	parts := map[string]string{"user:email": "user", "read:user": "user", "public_repo": "repo", "repo:status": "repo", "read:org": "admin:org"}
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(scopes, parts[s]) })
}

func message(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]any{"message": text, "documentation_url": "https://docs.github.com/rest"})
}

// app checks the App's JWT with the App's public key, apart from the code that
// made it.
func (g *GitHub) app(w http.ResponseWriter, r *http.Request) bool {
	if fault := g.faultOfJWT(bearer(r), time.Now()); fault != "" {
		message(w, http.StatusUnauthorized, fault)
		return false
	}
	return true
}

// faultOfJWT is what GitHub would say of a JWT, "" for a good one.
func (g *GitHub) faultOfJWT(jwt string, now time.Time) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return "A JSON web token could not be decoded"
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || decodePart(parts[0], &header) != nil || decodePart(parts[1], &claims) != nil {
		return "A JSON web token could not be decoded"
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch {
	case header.Alg != "RS256" || rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, sum[:], signature) != nil:
		return "A JSON web token could not be decoded"
	case claims.Iss != strconv.Itoa(githubAppID):
		return "'Issuer' claim is not this App"
	case claims.Iat > now.Unix():
		return "'Issued at' claim is in the future"
	case claims.Exp < now.Unix() || claims.Exp > claims.Iat+660 || claims.Exp > now.Unix()+600:
		return "'Expiration time' claim is too far in the future or past"
	}
	return ""
}

func decodePart(part string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(b)).Decode(into)
}
