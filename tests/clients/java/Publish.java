package com.exposia.calificaciones;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.support.PropertySourcesPlaceholderConfigurer;

/**
 * Publishes each call on standard input, one a line, with a Java snippet, which Spring wires: one answer a line.
 *
 * <p>A call is {event, payload, key}; an answer is {payload, answer}, where `payload` is the text that this language
 * makes of the payload, and so the one that subscribers must receive. A call without a payload is made with one that is
 * no JSON.
 */
final class Publish {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws IOException {
        Class<?> service = args[0].equals("grpc") ? GrpcNotificationService.class : NotificationService.class;
        try (var context = new AnnotationConfigApplicationContext(PropertySourcesPlaceholderConfigurer.class, service)) {
            var calls = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String text = calls.readLine(); text != null; text = calls.readLine()) {
                JsonNode call = JSON.readTree(text);
                Map<String, Object> payload = JSON.convertValue(call.get("payload"), new TypeReference<>() {});
                ObjectNode line = JSON.createObjectNode();
                line.put("payload", new String(JSON.writeValueAsBytes(payload), StandardCharsets.UTF_8));
                Map<String, Object> sent = payload == null ? Map.of("id", new Object()) : payload;
                line.set("answer", publish(context.getBean(service), call, sent));
                System.out.println(line);
            }
        }
    }

    private static JsonNode publish(Object service, JsonNode call, Map<String, Object> payload) {
        String event = call.get("event").asText();
        String key = call.get("key").asText();
        if (service instanceof GrpcNotificationService) {
            return ((GrpcNotificationService) service).enviarNotificacion(event, payload, key)
                    .<JsonNode>map(answer -> JSON.createObjectNode()
                            .put("id", answer.getId())
                            .put("sequence", answer.getSequence())
                            .put("receivers", answer.getReceivers())
                            .put("duplicate", answer.getDuplicate()))
                    .orElse(JSON.nullNode());
        }
        return ((NotificationService) service).enviarNotificacion(event, payload, key).orElse(JSON.nullNode());
    }
}
