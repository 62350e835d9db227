// Pushes to a user: push URL UID TEXT ID.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log"
	"os"

	"github.com/redis/go-redis/v9"
)

func main() {
	url, uid, text, id := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	options, err := redis.ParseURL(url)
	check(err)
	ctx, store := context.Background(), redis.NewClient(options)
	lanes, err := store.HGet(ctx, "gim:meta", "lanes").Uint64()
	check(err)
	lane := uint64(crc32.ChecksumIEEE([]byte("u:"+uid))) % lanes
	data, err := json.Marshal(map[string]string{"text": text})
	check(err)
	entry, err := store.XAdd(ctx, &redis.XAddArgs{
		Stream: fmt.Sprintf("gim:queue:%d", lane),
		Values: []any{"to_uid", uid, "data", data, "id", id},
	}).Result()
	check(err)
	fmt.Println(entry)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
