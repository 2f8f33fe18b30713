package token

import "context"

// Renew renews the token although it has not ended and was not refused: what it is
// good for has changed at the provider. An integration that is not active is left
// alone. The errors are those of [Handle.Token].
func (h *Handle) Renew(ctx context.Context) error {
	s, err := h.load(ctx)
	if err != nil || s.fault().err != nil {
		return err
	}
	_, err = share(ctx, h.vault, h.flight("replace"), h.vault.renewalLimit(), func(ctx context.Context) (any, error) {
		return nil, h.refresh(ctx, s.gen)
	})
	return err
}
