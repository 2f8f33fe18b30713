// Package mounting shows the handlers on four routers. A host needs one of these
// lines.
package mounting

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
)

// OnServeMux mounts h on the standard library's router.
func OnServeMux(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/integrations/", h)
	return mux
}

// OnChi mounts h on chi.
func OnChi(h http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Mount("/integrations", h)
	return r
}

// OnGin mounts h on gin.
func OnGin(h http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Any("/integrations/*path", gin.WrapH(h))
	return router
}

// OnEcho mounts h on echo.
func OnEcho(h http.Handler) http.Handler {
	e := echo.New()
	e.Any("/integrations/*", echo.WrapHandler(h))
	return e
}
