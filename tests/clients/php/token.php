<?php
// Prints the token that the PHP snippet makes:
//
//     php token.php FOLDER-OF-THE-SNIPPETS USER [ROOM...]
//
// The keys of the rooms do not begin with 0, as those of an array that was filtered.

declare(strict_types=1);

require __DIR__ . '/laravel.php';
[, $snippets, $user] = $argv;
boot("{$snippets}/php-config");
require "{$snippets}/php-token";

echo App\Services\SubscriberToken::crear($user, array_slice($argv, 3, preserve_keys: true)), PHP_EOL;
