package slackapp

import (
	"context"
	"fmt"

	"github.com/saas-integrations/integrations/providers"
	"github.com/slack-go/slack"
)

// fallbackChannel is where a message goes when neither it nor the install names
// a channel.
const fallbackChannel = "#general"

// Message is what [Notify] sends. Text or Blocks is required; with both, Text is
// what notifications show.
type Message struct {
	Text   string
	Blocks []slack.Block
	// Channel is an id or a name. Defaults to the channel chosen at install, else
	// "#general".
	Channel string
	// ThreadTS, when not "", is the timestamp of the message to reply to.
	ThreadTS string
}

// Posted is where a message went.
type Posted struct {
	// Channel is the id of the channel, Timestamp that of the message: together
	// they name it.
	Channel, Timestamp string
}

// Notify posts a message. Links in it are not unfurled. The errors are those of
// [Classify]; posting twice is possible when an answer was lost, because Slack
// has no idempotency key for messages.
func Notify(ctx context.Context, conn *providers.Connection, m Message) (Posted, error) {
	if err := conn.RequireKind(Key); err != nil {
		return Posted{}, err
	}
	if m.Text == "" && len(m.Blocks) == 0 {
		return Posted{}, fmt.Errorf("%w: message has neither text nor blocks", providers.ErrInvalid)
	}
	if m.Channel == "" {
		var err error
		if m.Channel, err = defaultChannel(ctx, conn); err != nil {
			return Posted{}, err
		}
	}
	opts := []slack.MsgOption{slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl()}
	if m.Text != "" {
		opts = append(opts, slack.MsgOptionText(m.Text, false))
	}
	if len(m.Blocks) > 0 {
		opts = append(opts, slack.MsgOptionBlocks(m.Blocks...))
	}
	if m.ThreadTS != "" {
		opts = append(opts, slack.MsgOptionTS(m.ThreadTS))
	}
	channel, ts, err := Client(conn).PostMessageContext(ctx, m.Channel, opts...)
	if err != nil {
		return Posted{}, Classify(err)
	}
	return Posted{Channel: channel, Timestamp: ts}, nil
}

func defaultChannel(ctx context.Context, conn *providers.Connection) (string, error) {
	s, err := conn.Snapshot(ctx)
	if err != nil {
		return "", err
	}
	w, err := ReadWorkspace(s)
	if err != nil {
		return "", err
	}
	if w.DefaultChannelID != "" {
		return w.DefaultChannelID, nil
	}
	return fallbackChannel, nil
}
