// Command interop looks at our topics through goka and sarama, which share no code with us.
//
//	interop load BROKER TOPIC RECORDS KEYS TRUTH    emits with a goka emitter, writes the true counts to file TRUTH
//	interop count BROKER TOPIC GROUP DIRECTORY      a counting goka processor, until it is interrupted
//	interop verify BROKER TOPIC GROUP TABLE TRUTH   folds TABLE with sarama, reads it with a goka view, compares offsets
//	interop covers BROKER TOPIC GROUP TABLE TRUTH   the same, but rows may have counted records twice
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/lovoo/goka/storage"
)

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 6 && args[0] == "load":
		load(args[1], args[2], number(args[3]), number(args[4]), args[5])
	case len(args) == 5 && args[0] == "count":
		count(args[1], args[2], args[3], args[4])
	case len(args) == 6 && args[0] == "verify":
		verify(args[1], args[2], args[3], args[4], args[5], false)
	case len(args) == 6 && args[0] == "covers":
		verify(args[1], args[2], args[3], args[4], args[5], true)
	default:
		log.Fatal("usage: interop load BROKER TOPIC RECORDS KEYS TRUTH | count BROKER TOPIC GROUP DIRECTORY | verify|covers BROKER TOPIC GROUP TABLE TRUTH")
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// load emits records whose keys are not evenly popular, and writes down how often each was used, by earlier loads too.
func load(broker, topic string, records, keys int, truth string) {
	emitter, err := goka.NewEmitter([]string{broker}, goka.Stream(topic), new(codec.String))
	must(err)
	counts := map[string]int64{}
	if text, err := os.ReadFile(truth); err == nil {
		must(json.Unmarshal(text, &counts))
	}
	var failed atomic.Int64
	for i := 0; i < records; i++ {
		number := i // every key once, then some of them more often than others
		if i >= keys {
			number = int((uint64(i)*2654435761 + uint64(i/7)) % uint64(keys))
		}
		key := fmt.Sprintf("user-%05d", number)
		counts[key]++
		promise, err := emitter.Emit(key, "click")
		must(err)
		promise.Then(func(err error) {
			if err != nil {
				failed.Add(1)
			}
		})
	}
	must(emitter.Finish())
	if failed.Load() > 0 {
		log.Fatalf("%d records were not written", failed.Load())
	}
	text, err := json.Marshal(counts)
	must(err)
	must(os.WriteFile(truth, text, 0o644))
	fmt.Printf("%d records written to %s, %d keys so far\n", records, topic, len(counts))
}

// count is a member of the same group as ours, with goka's own store; it says which partitions it has.
func count(broker, topic, group, directory string) {
	config := goka.DefaultConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	goka.ReplaceGlobalConfig(config)
	topics := goka.NewTopicManagerConfig()
	topics.Table.Replication = 1
	var counted atomic.Int64
	graph := goka.DefineGroup(goka.Group(group),
		goka.Input(goka.Stream(topic), new(codec.String), func(ctx goka.Context, _ interface{}) {
			counted.Add(1)
			total := int64(1)
			if value := ctx.Value(); value != nil {
				total += value.(int64)
			}
			ctx.SetValue(total)
		}),
		goka.Persist(new(codec.Int64)),
	)
	processor, err := goka.NewProcessor([]string{broker}, graph,
		goka.WithTopicManagerBuilder(goka.TopicManagerBuilderWithTopicManagerConfig(topics)),
		goka.WithStorageBuilder(storage.DefaultBuilder(directory)))
	must(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		for before := ""; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			var mine []int32
			for partition, stats := range processor.Stats().Group {
				if stats.TableStats != nil && stats.TableStats.Status == goka.PartitionRunning {
					mine = append(mine, partition)
				}
			}
			slices.Sort(mine)
			if now := fmt.Sprint(mine); now != before {
				fmt.Printf("goka runs partitions %s\n", now)
				before = now
			}
		}
	}()
	must(processor.Run(ctx))
	fmt.Printf("goka counted %d records\n", counted.Load())
}

func verify(broker, topic, group, table, truthFile string, surplus bool) {
	text, err := os.ReadFile(truthFile)
	must(err)
	truth := map[string]int64{}
	must(json.Unmarshal(text, &truth))
	client, err := sarama.NewClient([]string{broker}, sarama.NewConfig())
	must(err)
	compare("fold of the changelog", truth, fold(client, table), surplus)
	compare("goka view", truth, view(broker, table, truth), surplus)
	offsets(client, group, topic)
}

// fold reads the changelog from its start and keeps the last value per key.
func fold(client sarama.Client, table string) map[string]int64 {
	consumer, err := sarama.NewConsumerFromClient(client)
	must(err)
	partitions, err := client.Partitions(table)
	must(err)
	values := map[string]int64{}
	for _, partition := range partitions {
		end, err := client.GetOffset(table, partition, sarama.OffsetNewest)
		must(err)
		reader, err := consumer.ConsumePartition(table, partition, sarama.OffsetOldest)
		must(err)
		for next := int64(0); next < end; {
			message := <-reader.Messages()
			next = message.Offset + 1
			key := string(message.Key)
			if partition != partitionOf(key, int32(len(partitions))) {
				log.Fatalf("row %s lies in partition %d, goka looks for it in %d", key, partition, partitionOf(key, int32(len(partitions))))
			}
			if message.Value == nil {
				delete(values, key)
				continue
			}
			count, err := strconv.ParseInt(string(message.Value), 10, 64)
			must(err)
			values[key] = count
		}
		must(reader.Close())
	}
	return values
}

// partitionOf is goka's rule.
func partitionOf(key string, partitions int32) int32 {
	hash := fnv.New32a()
	hash.Write([]byte(key))
	partition := int32(hash.Sum32()) % partitions
	if partition < 0 {
		partition = -partition
	}
	return partition
}

// view asks a goka view for every key.
func view(broker, table string, truth map[string]int64) map[string]int64 {
	view, err := goka.NewView([]string{broker}, goka.Table(table), new(codec.Int64), goka.WithViewStorageBuilder(storage.MemoryBuilder()))
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- view.Run(ctx) }()
	deadline := time.After(5 * time.Minute)
	for !view.Recovered() {
		select {
		case err := <-done:
			log.Fatalf("goka view ended: %v", err)
		case <-deadline:
			log.Fatal("goka view does not recover")
		case <-time.After(50 * time.Millisecond):
		}
	}
	values := map[string]int64{}
	for key := range truth {
		value, err := view.Get(key)
		must(err)
		if value != nil {
			values[key] = value.(int64)
		}
	}
	stop()
	must(<-done)
	return values
}

// offsets compares what the group committed with where the topic ends.
func offsets(client sarama.Client, group, topic string) {
	admin, err := sarama.NewClusterAdminFromClient(client)
	must(err)
	partitions, err := client.Partitions(topic)
	must(err)
	response, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: partitions})
	must(err)
	for _, partition := range partitions {
		end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
		must(err)
		if committed := response.GetBlock(topic, partition).Offset; committed != end {
			log.Fatalf("group %s committed %d of %s-%d, which ends at %d", group, committed, topic, partition, end)
		}
	}
	fmt.Printf("committed offsets of %s: equal to the ends of %d partitions\n", group, len(partitions))
}

func compare(what string, truth, found map[string]int64, surplus bool) {
	wrong, twice := 0, int64(0)
	for key, count := range truth {
		if surplus && found[key] > count {
			twice += found[key] - count
		} else if found[key] != count {
			if wrong < 5 {
				fmt.Printf("%s: %s is %d, should be %d\n", what, key, found[key], count)
			}
			wrong++
		}
	}
	for key := range found {
		if _, known := truth[key]; !known {
			fmt.Printf("%s: %s was invented\n", what, key)
			wrong++
		}
	}
	if wrong > 0 {
		log.Fatalf("%s: %d of %d rows are wrong", what, wrong, len(truth))
	}
	if surplus {
		fmt.Printf("%s: %d rows, nothing lost, %d records counted twice\n", what, len(truth), twice)
		return
	}
	fmt.Printf("%s: %d rows, all exact\n", what, len(truth))
}
