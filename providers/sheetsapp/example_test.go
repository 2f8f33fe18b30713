package sheetsapp_test

import (
	"fmt"

	"github.com/saas-integrations/integrations/providers/sheetsapp"
)

func ExampleNew() {
	app := sheetsapp.New(sheetsapp.Config{ClientID: "1.apps.googleusercontent.com", ClientSecret: "secret", Scopes: []string{sheetsapp.ScopeDriveFile}})
	fmt.Println(app.Info().Key, app.Validate())
	// Output: google_sheets <nil>
}
