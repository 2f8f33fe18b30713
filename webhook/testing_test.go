package webhook_test

import (
	"bytes"
	"strconv"
)

// githubBody is a push-like body of about size bytes with the installation at
// its end, after nested content that names another one.
func githubBody(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"ref":"refs/heads/main","before":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","client_payload":{"installation":{"id":1}},"commits":[`)
	for i := 0; b.Len() < size-420; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		n := strconv.Itoa(100000 + i)
		b.WriteString(`{"id":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0f` + n + `","tree_id":"f9d2a07e9488b91af2641b26b9407fe22a451433","distinct":true,` +
			`"message":"Update README.md\n\nCo-authored-by: Octo Cat <octocat@github.com>","timestamp":"2026-11-05T09:21:41+01:00",` +
			`"url":"https://github.com/Codertocat/Hello-World/commit/0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0f` + n + `",` +
			`"author":{"name":"Codertocat","email":"21031067+Codertocat@users.noreply.github.com","username":"Codertocat"},"added":[],"removed":[],"modified":["README.md"]}`)
	}
	b.WriteString(`],"repository":{"id":186853002,"node_id":"MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=","name":"Hello-World","private":false,"size":0,"stargazers_count":12},` +
		`"sender":{"login":"Codertocat","id":21031067,"site_admin":false},"installation":{"id":52416789,"node_id":"MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uNTI0MTY3ODk="}}`)
	return b.Bytes()
}
