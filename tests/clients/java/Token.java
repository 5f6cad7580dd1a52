package com.exposia.calificaciones;

import java.util.Arrays;
import java.util.List;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.support.PropertySourcesPlaceholderConfigurer;

/** Prints the token that the Java snippet makes for a user and some rooms. */
final class Token {
    public static void main(String[] args) throws Exception {
        List<String> rooms = Arrays.asList(args).subList(1, args.length);
        try (var context =
                new AnnotationConfigApplicationContext(PropertySourcesPlaceholderConfigurer.class, SubscriberTokens.class)) {
            System.out.println(context.getBean(SubscriberTokens.class).crear(args[0], rooms));
        }
    }
}
