module github.com/saas-integrations/integrations/cmd/integrations

go 1.26.0

require github.com/saas-integrations/integrations v0.0.0

replace github.com/saas-integrations/integrations => ../..
