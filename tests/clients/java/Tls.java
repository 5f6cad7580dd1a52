package com.exposia.calificaciones;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Posts with the JDK's own client, over HTTP/2 a few at a time: a line of JSON for each answer.
 *
 * <p>Its arguments are the version of HTTP (1.1 or 2), an address, a token, and the sizes of the bodies.
 */
final class Tls {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final int STREAMS = 8;

    public static void main(String[] args) throws Exception {
        HttpClient.Version version = args[0].equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        HttpClient client = HttpClient.newBuilder().version(version).sslContext(trusting()).build();
        List<String> sizes = List.of(args).subList(3, args.length);
        int atATime = version == HttpClient.Version.HTTP_2 ? STREAMS : 1;
        for (int first = 0; first < sizes.size(); first += atATime) {
            List<CompletableFuture<ObjectNode>> lines = new ArrayList<>();
            for (String size : sizes.subList(first, Math.min(first + atATime, sizes.size()))) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(args[1]))
                        .header("Authorization", "Bearer " + args[2])
                        .header("Content-Type", "application/json")
                        .timeout(PATIENCE)
                        .POST(HttpRequest.BodyPublishers.ofString(event(Integer.parseInt(size))))
                        .build();
                lines.add(client.sendAsync(request, HttpResponse.BodyHandlers.ofString())
                        .handle((answer, fault) -> line(version, answer, fault)));
            }
            lines.forEach(line -> System.out.println(line.join()));
        }
    }

    private static ObjectNode line(HttpClient.Version version, HttpResponse<String> answer, Throwable fault) {
        if (fault != null) {
            return JSON.createObjectNode().put("error", fault.toString());
        }
        if (answer.version() != version) {
            return JSON.createObjectNode().put("error", "it came by " + answer.version());
        }
        return JSON.createObjectNode().put("status", answer.statusCode()).put("body", answer.body());
    }

    private static String event(int size) {
        String frame = "{\"event\":\"test.tls\",\"target\":{\"everyone\":true},\"payload\":{\"filler\":\"%s\"}}";
        return String.format(frame, "x".repeat(size - frame.length() + 2));
    }

    /** Believes the authorities in the file that CA_FILE names, and no others. */
    private static SSLContext trusting() throws GeneralSecurityException, IOException {
        KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (InputStream file = Files.newInputStream(Path.of(System.getenv("CA_FILE")))) {
            for (Certificate authority : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                authorities.setCertificateEntry("authority-" + authorities.size(), authority);
            }
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(authorities);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
