package githubapp

import (
	"context"
	"iter"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
)

// Repositories yields the repositories a connection may see, page by page as
// they are consumed: those of the installation, or those of the user. It ends
// after the first error, which is one of [Classify]. It works with
// Config.EnterpriseHost too.
func Repositories(ctx context.Context, conn *providers.Connection) iter.Seq2[*github.Repository, error] {
	return func(yield func(*github.Repository, error) bool) {
		s, err := conn.Snapshot(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		acc, err := ReadAccount(s)
		if err != nil {
			yield(nil, err)
			return
		}
		c := client(conn, siteOf(acc.Host))
		opts := github.ListOptions{PerPage: 100}
		for {
			repos, next, err := repositories(ctx, c, acc.AppID != 0, opts)
			if err != nil {
				yield(nil, Classify(err))
				return
			}
			for _, r := range repos {
				if !yield(r, nil) {
					return
				}
			}
			if next == 0 {
				return
			}
			opts.Page = next
		}
	}
}

func repositories(ctx context.Context, c *github.Client, ofInstallation bool, opts github.ListOptions) ([]*github.Repository, int, error) {
	if ofInstallation {
		list, resp, err := c.Apps.ListRepos(ctx, &opts)
		if err != nil {
			return nil, 0, err
		}
		return list.Repositories, resp.NextPage, nil
	}
	list, resp, err := c.Repositories.ListByAuthenticatedUser(ctx, &github.RepositoryListByAuthenticatedUserOptions{ListOptions: opts})
	if err != nil {
		return nil, 0, err
	}
	return list, resp.NextPage, nil
}
