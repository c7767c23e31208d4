// Answers every message with its own text. Needs github.com/nats-io/nats.go; the broker's address
// is NATS_URL.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type inbound struct {
	ID      string
	Message struct{ Text string }
	Reply   struct{ Subject string }
}

func main() {
	ctx := context.Background()
	connection := must(nats.Connect(cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL)))
	broker := must(jetstream.New(connection))
	// Durable: it goes on where it stopped. New: the first start does not answer old messages.
	consumer := must(broker.CreateOrUpdateConsumer(ctx, "DINGTALK_INBOUND", jetstream.ConsumerConfig{
		Durable:        "echo",
		FilterSubjects: []string{"dingtalk.inbound.*.group.>", "dingtalk.inbound.*.user.>"},
		DeliverPolicy:  jetstream.DeliverNewPolicy,
	}))
	messages := must(consumer.Messages())
	for {
		message := must(messages.Next())
		var said inbound
		must(0, json.Unmarshal(message.Data(), &said))
		if said.Message.Text != "" {
			// The same id on every redelivery: DingTalk gets the answer once.
			answer := must(json.Marshal(map[string]string{"id": "echo-" + said.ID, "text": said.Message.Text}))
			must(broker.Publish(ctx, said.Reply.Subject, answer))
		}
		must(0, message.Ack())
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
