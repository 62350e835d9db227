import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.zip.CRC32;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.StreamEntryID;

/** Pushes to a user: Push URL UID TEXT ID. Needs Jedis. */
public class Push {
    public static void main(String[] args) {
        String uid = args[1], text = args[2], id = args[3];
        try (JedisPooled store = new JedisPooled(args[0])) {
            long lanes = Long.parseLong(store.hget("gim:meta", "lanes"));
            CRC32 sum = new CRC32();
            sum.update(("u:" + uid).getBytes(StandardCharsets.UTF_8));
            // A JSON library would write this; the text here needs no escaping.
            Map<String, String> fields = Map.of("to_uid", uid, "data", "{\"text\":\"" + text + "\"}", "id", id);
            System.out.println(store.xadd("gim:queue:" + sum.getValue() % lanes, StreamEntryID.NEW_ENTRY, fields));
        }
    }
}
