package integrationstest

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// githubRepo is a repository. Its id stays when its name changes.
type githubRepo struct {
	id       int64
	name     string
	former   []string
	gone     bool // not the installation's any more
	status   int  // refuses what is asked below the repository
	text     string
	cursors  bool // lists of issues take no page numbers
	issues   map[int]GitHubIssue
	commits  map[string]GitHubCommit
	branches map[string]string
}

const githubBranch = "main"

// GitHubIssue is an issue or, with Pull, a pull request, which GitHub lists among
// the issues too.
type GitHubIssue struct {
	Number int
	Title  string
	Pull   bool
	// CreatedAt defaults to UpdatedAt. GitHub's times have seconds.
	CreatedAt, UpdatedAt time.Time
}

// GitHubCommit is a commit.
type GitHubCommit struct {
	// SHA defaults to a random one.
	SHA, Message string
	At           time.Time
	// Parents are those besides the head of the branch.
	Parents []string
}

// AddRepository gives an installation a repository and returns its id, which is the
// old one for a repository that was removed.
func (g *GitHub) AddRepository(installation int64, name string) int64 {
	var id int64
	g.change(installation, func(in *githubInstallation) { id = g.addRepo(in, name) })
	return id
}

// addRepo needs the lock.
func (g *GitHub) addRepo(in *githubInstallation, name string) int64 {
	for _, r := range in.repos {
		if r.name == name {
			r.gone = false
			return r.id
		}
	}
	g.nextRepo++
	in.repos = append(in.repos, &githubRepo{
		id: g.nextRepo, name: name, issues: map[int]GitHubIssue{}, commits: map[string]GitHubCommit{}, branches: map[string]string{},
	})
	return g.nextRepo
}

// RemoveRepository takes a repository from an installation. Nobody is told.
func (g *GitHub) RemoveRepository(installation int64, name string) {
	g.changeRepo(installation, name, func(r *githubRepo) { r.gone = true })
}

// RenameRepository renames a repository. The old name redirects.
func (g *GitHub) RenameRepository(installation int64, name, to string) {
	g.changeRepo(installation, name, func(r *githubRepo) { r.former, r.name = append(r.former, r.name), to })
}

// RefuseRepository makes everything below a repository be refused with a status,
// until that is 0.
func (g *GitHub) RefuseRepository(installation int64, name string, status int, text string) {
	g.changeRepo(installation, name, func(r *githubRepo) { r.status, r.text = status, text })
}

// CursorsOnly makes the lists of a repository's issues take no page numbers, as
// those of large repositories do.
func (g *GitHub) CursorsOnly(installation int64, name string) {
	g.changeRepo(installation, name, func(r *githubRepo) { r.cursors = true })
}

// PutIssue adds or updates an issue or a pull request.
func (g *GitHub) PutIssue(installation int64, repo string, issue GitHubIssue) {
	if issue.CreatedAt.IsZero() {
		issue.CreatedAt = issue.UpdatedAt
	}
	g.changeRepo(installation, repo, func(r *githubRepo) { r.issues[issue.Number] = issue })
}

// HideIssue makes an issue or pull request disappear.
func (g *GitHub) HideIssue(installation int64, repo string, number int) {
	g.changeRepo(installation, repo, func(r *githubRepo) { delete(r.issues, number) })
}

// PutCommit adds a commit to a branch and returns its SHA. The default branch is
// "main". A branch that does not exist begins at the first of the commit's parents.
func (g *GitHub) PutCommit(installation int64, repo, branch string, c GitHubCommit) string {
	if c.SHA == "" {
		c.SHA = (randomHex() + randomHex())[:40]
	}
	g.changeRepo(installation, repo, func(r *githubRepo) {
		if head := r.branches[branch]; head != "" {
			c.Parents = append([]string{head}, c.Parents...)
		}
		r.commits[c.SHA], r.branches[branch] = c, c.SHA
	})
	return c.SHA
}

// SetBranch moves a branch to another commit, as a forced push does.
func (g *GitHub) SetBranch(installation int64, repo, branch, sha string) {
	g.changeRepo(installation, repo, func(r *githubRepo) { r.branches[branch] = sha })
}

// DropCommit removes a commit that no branch needs any more.
func (g *GitHub) DropCommit(installation int64, repo, sha string) {
	g.changeRepo(installation, repo, func(r *githubRepo) { delete(r.commits, sha) })
}

func (g *GitHub) changeRepo(installation int64, name string, fn func(r *githubRepo)) {
	found := false
	g.change(installation, func(in *githubInstallation) {
		for _, r := range in.repos {
			if r.name == name {
				found = true
				fn(r)
			}
		}
	})
	if !found {
		g.kit.t.Fatalf("integrationstest: installation %d has no repository %q", installation, name)
	}
}

// visible are the repositories an installation shows. It needs the lock.
func (in *githubInstallation) visible() []*githubRepo {
	return slices.DeleteFunc(slices.Clone(in.repos), func(r *githubRepo) bool { return r.gone })
}

func (in *githubInstallation) repoJSON(r *githubRepo) map[string]any {
	return map[string]any{
		"id": r.id, "name": r.name, "full_name": in.login + "/" + r.name, "private": true, "default_branch": githubBranch,
		"owner": map[string]any{"login": in.login, "id": in.id * 10},
	}
}

// repoRoutes are the endpoints below one repository.
func (g *GitHub) repoRoutes(api *http.ServeMux) {
	for _, base := range []string{"GET /repos/{owner}/{repo}", "GET /repositories/{id}"} {
		api.HandleFunc(base, g.ofRepo(func(w http.ResponseWriter, _ *http.Request, in *githubInstallation, r *githubRepo) {
			writeJSON(w, http.StatusOK, in.repoJSON(r))
		}))
		api.HandleFunc(base+"/issues", g.ofRepo(g.needs("issues", "read", g.issues)))
		api.HandleFunc(base+"/pulls", g.ofRepo(g.needs("pull_requests", "read", g.pulls)))
		api.HandleFunc(base+"/commits", g.ofRepo(g.needs("contents", "read", g.commits)))
		api.HandleFunc(base+"/compare/{basehead}", g.ofRepo(g.needs("contents", "read", g.compare)))
	}
	api.HandleFunc("POST /repos/{owner}/{repo}/issues", g.ofRepo(g.needs("issues", "write", g.createIssue)))
}

// answer is what answers below a repository, with the lock held.
type answer = func(w http.ResponseWriter, req *http.Request, in *githubInstallation, r *githubRepo)

// needs lets a request through whose token has a permission.
func (g *GitHub) needs(name, level string, fn answer) answer {
	return func(w http.ResponseWriter, req *http.Request, in *githubInstallation, r *githubRepo) {
		if g.permits(w, req, name, level) {
			fn(w, req, in, r)
		}
	}
}

func (g *GitHub) createIssue(w http.ResponseWriter, req *http.Request, _ *githubInstallation, r *githubRepo) {
	var body struct {
		Title string `json:"title"`
	}
	if decodeBody(req, &body) != nil || body.Title == "" {
		message(w, http.StatusUnprocessableEntity, "Validation Failed")
		return
	}
	now := time.Now()
	issue := GitHubIssue{Number: len(r.issues) + 1, Title: body.Title, CreatedAt: now, UpdatedAt: now}
	r.issues[issue.Number] = issue
	writeJSON(w, http.StatusCreated, issueJSON(issue))
}

// ofRepo finds the repository of a request for which the token is good, and holds
// the lock while fn answers.
func (g *GitHub) ofRepo(fn answer) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		who, ok := g.subject(w, req)
		if !ok {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, in := range g.installations {
			if in.gone || (strconv.FormatInt(in.id, 10) != who && !slices.Contains(in.users, who)) {
				continue
			}
			for _, r := range in.visible() {
				byID := req.PathValue("id") == strconv.FormatInt(r.id, 10)
				named := in.login == req.PathValue("owner")
				switch {
				case named && slices.Contains(r.former, req.PathValue("repo")):
					_, rest, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/repos/"+in.login+"/"), "/")
					u := url.URL{Scheme: "https", Host: req.Host, Path: strings.TrimSuffix("/repositories/"+strconv.FormatInt(r.id, 10)+"/"+rest, "/"), RawQuery: req.URL.RawQuery}
					w.Header().Set("Location", u.String())
					message(w, http.StatusMovedPermanently, "Moved Permanently")
					return
				case byID || (named && r.name == req.PathValue("repo")):
					if r.status != 0 {
						message(w, r.status, r.text)
						return
					}
					fn(w, req, in, r)
					return
				}
			}
		}
		message(w, http.StatusNotFound, "Not Found")
	}
}

// sorted returns issues in the order a request asks for, and the time of that
// order.
func sorted(q url.Values, all []GitHubIssue) ([]GitHubIssue, func(GitHubIssue) time.Time) {
	key := func(i GitHubIssue) time.Time { return i.CreatedAt }
	if q.Get("sort") == "updated" {
		key = func(i GitHubIssue) time.Time { return i.UpdatedAt }
	}
	slices.SortFunc(all, func(a, b GitHubIssue) int { return cmp.Or(key(a).Compare(key(b)), cmp.Compare(a.Number, b.Number)) })
	if q.Get("direction") != "asc" {
		slices.Reverse(all)
	}
	return all, key
}

func issueJSON(i GitHubIssue) map[string]any {
	return map[string]any{
		"id": 100000 + i.Number, "number": i.Number, "title": i.Title, "state": "open",
		"created_at": i.CreatedAt.UTC().Format(time.RFC3339), "updated_at": i.UpdatedAt.UTC().Format(time.RFC3339),
	}
}

func (g *GitHub) issues(w http.ResponseWriter, req *http.Request, _ *githubInstallation, r *githubRepo) {
	q := req.URL.Query()
	if r.cursors && q.Has("page") {
		message(w, http.StatusUnprocessableEntity, "Pagination with the page parameter is not supported for large datasets, please use cursor based pagination (after/before)")
		return
	}
	since, _ := time.Parse(time.RFC3339, q.Get("since")) // none is zero
	var all []GitHubIssue
	for _, i := range r.issues {
		if !i.UpdatedAt.Before(since) {
			all = append(all, i)
		}
	}
	all, key := sorted(q, all)
	var page []GitHubIssue
	if r.cursors {
		page = cursorPage(w, req, all, key)
	} else {
		page = pageOf(w, req, all)
	}
	list := make([]any, len(page))
	for n, i := range page {
		item := issueJSON(i)
		if i.Pull {
			item["pull_request"] = map[string]any{"url": fmt.Sprintf("https://api.github.com/repositories/%d/pulls/%d", r.id, i.Number)}
		}
		list[n] = item
	}
	writeJSON(w, http.StatusOK, list)
}

// cursorPage is pageOf for lists that go on after the last item of a page, in
// ascending order.
func cursorPage(w http.ResponseWriter, req *http.Request, all []GitHubIssue, key func(GitHubIssue) time.Time) []GitHubIssue {
	q := req.URL.Query()
	var unix int64
	var number int
	if _, err := fmt.Sscanf(q.Get("after"), "c%d-%d", &unix, &number); err == nil {
		all = slices.DeleteFunc(all, func(i GitHubIssue) bool {
			return key(i).Unix() < unix || (key(i).Unix() == unix && i.Number <= number)
		})
	}
	size := pageSize(q)
	if len(all) <= size {
		return all
	}
	last := all[size-1]
	q.Set("after", fmt.Sprintf("c%d-%d", key(last).Unix(), last.Number))
	w.Header().Set("Link", link(req, q, "next"))
	return all[:size]
}

func (g *GitHub) pulls(w http.ResponseWriter, req *http.Request, _ *githubInstallation, r *githubRepo) {
	var all []GitHubIssue
	for _, i := range r.issues {
		if i.Pull {
			all = append(all, i)
		}
	}
	all, _ = sorted(req.URL.Query(), all)
	page := pageOf(w, req, all)
	list := make([]any, len(page))
	for n, i := range page {
		list[n] = issueJSON(i)
	}
	writeJSON(w, http.StatusOK, list)
}

// reach returns what can be reached from a commit, the newest first.
func (r *githubRepo) reach(sha string) []GitHubCommit {
	seen := map[string]bool{}
	var heads, out []GitHubCommit
	push := func(sha string) {
		if c, ok := r.commits[sha]; ok && !seen[sha] {
			seen[sha] = true
			heads = append(heads, c)
		}
	}
	for push(sha); len(heads) > 0; {
		slices.SortStableFunc(heads, func(a, b GitHubCommit) int { return b.At.Compare(a.At) })
		c := heads[0]
		heads = heads[1:]
		out = append(out, c)
		for _, p := range c.Parents {
			push(p)
		}
	}
	return out
}

func commitsJSON(list []GitHubCommit) []any {
	out := make([]any, len(list))
	for i, c := range list {
		who := map[string]any{"name": "someone", "email": "someone@example.test", "date": c.At.UTC().Format(time.RFC3339)}
		parents := make([]any, len(c.Parents))
		for n, p := range c.Parents {
			parents[n] = map[string]any{"sha": p}
		}
		out[i] = map[string]any{"sha": c.SHA, "commit": map[string]any{"message": c.Message, "author": who, "committer": who}, "parents": parents}
	}
	return out
}

func (g *GitHub) commits(w http.ResponseWriter, req *http.Request, _ *githubInstallation, r *githubRepo) {
	q := req.URL.Query()
	if len(r.commits) == 0 {
		message(w, http.StatusConflict, "Git Repository is empty.")
		return
	}
	sha := cmp.Or(q.Get("sha"), githubBranch)
	if head, ok := r.branches[sha]; ok {
		sha = head
	}
	if _, ok := r.commits[sha]; !ok {
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	since, _ := time.Parse(time.RFC3339, q.Get("since")) // none is zero
	all := slices.DeleteFunc(r.reach(sha), func(c GitHubCommit) bool { return c.At.Before(since) })
	writeJSON(w, http.StatusOK, commitsJSON(pageOf(w, req, all)))
}

func (g *GitHub) compare(w http.ResponseWriter, req *http.Request, _ *githubInstallation, r *githubRepo) {
	base, head, ok := strings.Cut(req.PathValue("basehead"), "...")
	_, hasBase := r.commits[base]
	_, hasHead := r.commits[head]
	if !ok || !hasBase || !hasHead {
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	old := map[string]bool{}
	for _, c := range r.reach(base) {
		old[c.SHA] = true
	}
	all := r.reach(head)
	count := len(all)
	all = slices.DeleteFunc(all, func(c GitHubCommit) bool { return old[c.SHA] })
	if len(all) == count {
		message(w, http.StatusNotFound, "No common ancestor between "+base+" and "+head+".")
		return
	}
	slices.Reverse(all)
	writeJSON(w, http.StatusOK, map[string]any{
		"status": "ahead", "total_commits": len(all), "ahead_by": len(all), "commits": commitsJSON(pageOf(w, req, all)), "files": []any{},
	})
}

// pageSize is the size of a page that a request asks for.
func pageSize(q url.Values) int {
	size, _ := strconv.Atoi(q.Get("per_page")) // none is 0
	if size <= 0 || size > 100 {
		size = 30
	}
	return size
}

// link is a part of a Link header to the request's list with another query.
func link(req *http.Request, q url.Values, rel string) string {
	return fmt.Sprintf(`<https://%s%s?%s>; rel="%s"`, req.Host, req.URL.Path, q.Encode(), rel)
}

// pageOf cuts the page a request asks for and sets the Link header.
func pageOf[T any](w http.ResponseWriter, req *http.Request, all []T) []T {
	q := req.URL.Query()
	size := pageSize(q)
	number, _ := strconv.Atoi(q.Get("page")) // none is 0
	number = max(number, 1)
	last := max((len(all)+size-1)/size, 1)
	var links []string
	to := func(page int, rel string) {
		q.Set("page", strconv.Itoa(page))
		links = append(links, link(req, q, rel))
	}
	if number > 1 {
		to(min(number-1, last), "prev")
	}
	if number < last {
		to(number+1, "next")
		to(last, "last")
	}
	if number > 1 {
		to(1, "first")
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	return all[min((number-1)*size, len(all)):min(number*size, len(all))]
}
