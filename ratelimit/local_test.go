package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

var call = ratelimit.Call{Provider: "slack", Account: "T1", Bucket: "chat.postMessage", Cost: 1}

func refused(after time.Duration) ratelimit.Answer {
	return ratelimit.Answer{Status: 429, Limited: true, RetryAfter: after}
}

func TestWaitGoesAtOnceUntilARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal()
		start := time.Now()
		require.NoError(t, l.Wait(t.Context(), call))
		l.Answered(call, ratelimit.Answer{Status: 200})
		require.NoError(t, l.Wait(t.Context(), call))
		require.Zero(t, time.Since(start))
	})
}

func TestRefusalPausesItsBucketOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal()
		l.Answered(call, refused(7*time.Second))
		start := time.Now()
		for _, other := range []ratelimit.Call{
			{Provider: "slack", Account: "T2", Bucket: "chat.postMessage"},
			{Provider: "slack", Account: "T1", Bucket: "users.list"},
			{Provider: "github", Account: "T1", Bucket: "chat.postMessage"},
		} {
			require.NoError(t, l.Wait(t.Context(), other))
		}
		require.Zero(t, time.Since(start))
		require.NoError(t, l.Wait(t.Context(), call))
		require.Equal(t, 7*time.Second, time.Since(start))
	})
}

func TestDeadlineThatCannotBeMetIsAnErrorAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal()
		l.Answered(call, refused(30*time.Second))
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := l.Wait(ctx, call)
		var limited *ratelimit.Error
		require.ErrorAs(t, err, &limited)
		require.ErrorIs(t, err, ratelimit.ErrRateLimited)
		require.Equal(t, start.Add(30*time.Second), limited.RetryAt)
		require.Equal(t, "slack T1 chat.postMessage", limited.Scope)
		require.Zero(t, time.Since(start))
	})
}

func TestLongPausesAreAnErrorAndCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal()
		l.Answered(call, refused(1000*time.Hour))
		var limited *ratelimit.Error
		require.ErrorAs(t, l.Wait(t.Context(), call), &limited)
		require.Equal(t, 24*time.Hour, time.Until(limited.RetryAt))
	})
}

func TestRefusalWithoutRetryAfterPausesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal()
		l.Answered(call, refused(0))
		start := time.Now()
		require.NoError(t, l.Wait(t.Context(), call))
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestAnEndedContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewLocal()
		l.Answered(call, refused(30*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		require.ErrorIs(t, l.Wait(ctx, call), context.Canceled)
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, l.Wait(ctx, ratelimit.Call{}), context.Canceled)
	})
}

func ExampleNewLocal() {
	l := ratelimit.NewLocal()
	c := ratelimit.Call{Provider: "github", Account: "42", Cost: 1}
	l.Answered(c, ratelimit.Answer{Status: 429, Limited: true, RetryAfter: time.Hour})

	err := l.Wait(context.Background(), c)
	fmt.Println(errors.Is(err, ratelimit.ErrRateLimited))
	// Output: true
}
