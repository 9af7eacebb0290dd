import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Fills topics with batches made by the Java client, for capture-frames to fetch. See README.md. */
public class JavaTopics {
    public static void main(String[] arguments) throws Exception {
        Properties connection = new Properties();
        connection.put("bootstrap.servers", arguments[0]);
        List<String> codecs = List.of("none", "gzip", "snappy", "lz4", "zstd");
        try (Admin admin = Admin.create(connection)) {
            for (String codec : codecs) {
                create(admin, "java-" + codec, "CreateTime");
            }
            create(admin, "java-transactions", "CreateTime");
            create(admin, "java-append-time", "LogAppendTime");
        }
        for (String codec : codecs) {
            threeRecords(connection, codec, "java-" + codec);
        }
        threeRecords(connection, "none", "java-append-time");
        transactions(connection);
    }

    /** The records carry timestamps of 1970, which retention would soon delete. */
    private static void create(Admin admin, String topic, String timestamps) throws Exception {
        Map<String, String> configs = Map.of("message.timestamp.type", timestamps, "retention.ms", "-1");
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(configs))).all().get();
    }

    /** One batch: headers with the same key twice, a record without key, a tombstone. */
    private static void threeRecords(Properties connection, String codec, String topic) throws Exception {
        Properties settings = new Properties();
        settings.putAll(connection);
        settings.put("compression.type", codec);
        settings.put("linger.ms", "1000");
        try (KafkaProducer<String, String> producer = producer(settings)) {
            ProducerRecord<String, String> first = new ProducerRecord<>(topic, 0, 1000L, "k1", "one ".repeat(50));
            first.headers().add("h", bytes("1")).add("h", bytes("2")).add("empty", null);
            producer.send(first);
            producer.send(new ProducerRecord<>(topic, 0, 1001L, null, "two ".repeat(50)));
            producer.send(new ProducerRecord<>(topic, 0, 1002L, "k3", (String) null));
        }
    }

    /** Two records committed, two aborted, one committed: each transaction ends with a control batch. */
    private static void transactions(Properties connection) throws Exception {
        Properties settings = new Properties();
        settings.putAll(connection);
        settings.put("transactional.id", "java-transactions");
        try (KafkaProducer<String, String> producer = producer(settings)) {
            producer.initTransactions();
            String[][] transactions = {{"a", "b"}, {"c", "d"}, {"e"}};
            for (int number = 0; number < transactions.length; number++) {
                producer.beginTransaction();
                for (String value : transactions[number]) {
                    producer.send(new ProducerRecord<>("java-transactions", 0, 2000L, value, value)).get();
                }
                if (number == 1) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
    }

    private static KafkaProducer<String, String> producer(Properties settings) {
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
