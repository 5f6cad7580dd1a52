<?php
// As much of a Laravel application as the snippets touch: a container with the HTTP client, the log and the
// configuration. The Illuminate packages are the real ones, from the distribution.

declare(strict_types=1);

foreach (['Dotenv', 'PhpOption', 'GuzzleHttp', 'Ramsey/Uuid', 'Illuminate/Config', 'Illuminate/Container', 'Illuminate/Http'] as $package) {
    require_once $package . '/autoload.php';
}

use Illuminate\Config\Repository;
use Illuminate\Container\Container;
use Illuminate\Support\Facades\Facade;

function config(string $key): mixed
{
    return Container::getInstance()->make('config')->get($key);
}

function boot(string $services): void
{
    $container = Container::getInstance();
    $container->instance('config', new Repository(['services' => require $services]));
    $container->instance('log', new class {
        public function error(string $message): void
        {
            fwrite(STDERR, $message . PHP_EOL);
        }
    });
    Facade::setFacadeApplication($container);
}
