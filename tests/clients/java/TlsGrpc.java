package com.exposia.calificaciones;

import com.exposia.notifications.v1.NotificationServiceGrpc;
import com.exposia.notifications.v1.PublishRequest;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.ByteString;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLException;

/**
 * Publishes over gRPC and TLS, one after the other: a line of JSON for each answer.
 *
 * <p>Its arguments are an address, a token, and the sizes of the payloads.
 */
final class TlsGrpc {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws SSLException {
        ManagedChannel channel = NettyChannelBuilder.forTarget(args[0])
                .sslContext(GrpcSslContexts.forClient().trustManager(new File(System.getenv("CA_FILE"))).build())
                .build();
        Metadata headers = new Metadata();
        headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + args[1]);
        NotificationServiceGrpc.NotificationServiceBlockingStub stub = NotificationServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
        for (String size : List.of(args).subList(2, args.length)) {
            String payload = "{\"filler\":\"" + "x".repeat(Integer.parseInt(size)) + "\"}";
            PublishRequest request = PublishRequest.newBuilder()
                    .setEvent("test.tls")
                    .setPayloadJson(ByteString.copyFromUtf8(payload))
                    .build();
            ObjectNode line = JSON.createObjectNode();
            try {
                stub.withDeadlineAfter(30, TimeUnit.SECONDS).publish(request);
                line.put("status", "OK").put("body", "");
            } catch (StatusRuntimeException e) {
                line.put("status", e.getStatus().getCode().name()).put("body", e.getStatus().getDescription());
            }
            System.out.println(line);
        }
        channel.shutdownNow();
    }
}
