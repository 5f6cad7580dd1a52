<?php
// Posts with curl, one after the other on one handle, as Guzzle does: a line of JSON for each answer.
//
//     php tls.php 1.1|2 URL TOKEN SIZE...

declare(strict_types=1);

[, $version, $url, $token] = $argv;
$call = curl_init($url);
foreach (array_slice($argv, 4) as $size) {
    $event = ['event' => 'test.tls', 'target' => ['everyone' => true], 'payload' => ['filler' => '']];
    $event['payload']['filler'] = str_repeat('x', $size - strlen(json_encode($event)));
    curl_setopt_array($call, [
        CURLOPT_HTTP_VERSION => $version === '2' ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1,
        CURLOPT_CAINFO => getenv('CA_FILE'),
        CURLOPT_HTTPHEADER => ["Authorization: Bearer {$token}", 'Content-Type: application/json'],
        CURLOPT_POSTFIELDS => json_encode($event),
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 30,
    ]);
    $body = curl_exec($call);
    $spoken = curl_getinfo($call, CURLINFO_HTTP_VERSION) === CURL_HTTP_VERSION_2_0 ? '2' : '1.1';
    $answered = $body !== false && $spoken === $version;
    $fault = curl_error($call) . ", HTTP/{$spoken}";
    $status = curl_getinfo($call, CURLINFO_RESPONSE_CODE);
    echo json_encode($answered ? ['status' => $status, 'body' => $body] : ['error' => $fault]), PHP_EOL;
}
