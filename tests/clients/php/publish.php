<?php
// Publishes each call on standard input, one a line, with a PHP snippet: one answer a line.
//
//     php publish.php rest|grpc FOLDER-OF-THE-SNIPPETS FOLDER-OF-THE-GENERATED-CODE
//
// A call is {event, payload, key}; an answer is {payload, answer}, where `payload` is the text that this language makes
// of the payload, and so the one that subscribers must receive. A call without a payload is made with one that is no JSON.

declare(strict_types=1);

require __DIR__ . '/laravel.php';
[, $transport, $snippets, $generated] = $argv;
boot("{$snippets}/php-config");

if ($transport === 'grpc') {
    require __DIR__ . '/grpc.php';
    spl_autoload_register(function (string $class) use ($generated): void {
        $file = str_replace('\\', '/', $class) . '.php';
        foreach ([$generated, '/usr/share/php'] as $folder) {
            if (is_file("{$folder}/{$file}")) {
                require "{$folder}/{$file}";
                return;
            }
        }
    });
    require "{$snippets}/php-grpc";
    $service = new App\Services\GrpcNotificationService();
    $flags = JSON_UNESCAPED_UNICODE;
} else {
    require "{$snippets}/php-rest";
    $service = new App\Services\NotificationService();
    $flags = 0;
}

while (($line = fgets(STDIN)) !== false) {
    $call = json_decode($line);
    $answer = $service->enviarNotificacion($call->event, (array) ($call->payload ?? ['id' => "\xff"]), $call->key);
    if ($answer instanceof Exposia\Notifications\V1\PublishResponse) {
        $answer = [
            'id' => $answer->getId(),
            'sequence' => $answer->getSequence(),
            'receivers' => $answer->getReceivers(),
            'duplicate' => $answer->getDuplicate(),
        ];
    }
    echo json_encode(['payload' => json_encode($call->payload ?? null, $flags), 'answer' => $answer]), PHP_EOL;
}
