<?php
// What the generated client needs of `ext-grpc`, which the distribution does not package: a unary call. It is made
// over HTTP/2 by curl, so that client code, messages and server are the real ones, and only the transport is another.

declare(strict_types=1);

namespace Grpc;

const STATUS_OK = 0;
const STATUS_UNKNOWN = 2;
const STATUS_DEADLINE_EXCEEDED = 4;
const STATUS_RESOURCE_EXHAUSTED = 8;
const STATUS_INTERNAL = 13;
const STATUS_UNAVAILABLE = 14;

final class ChannelCredentials
{
    public static function createInsecure(): null
    {
        return null;
    }
}

class BaseStub
{
    public function __construct(private string $target, private array $options, mixed $channel = null)
    {
        if (!array_key_exists('credentials', $options)) {
            throw new \InvalidArgumentException("The opts['credentials'] key is now required.");
        }
    }

    protected function _simpleRequest(string $method, object $argument, array $deserialize, array $metadata, array $options): UnaryCall
    {
        return new UnaryCall('http://' . $this->target . $method, $argument, $deserialize[0], $metadata, $options);
    }
}

final class UnaryCall
{
    public function __construct(
        private string $url,
        private object $argument,
        private string $response,
        private array $metadata,
        private array $options,
    ) {
    }

    /** @return array{?object, object} the response and the status */
    public function wait(): array
    {
        $message = $this->argument->serializeToString();
        $received = []; // headers and trailers
        $call = curl_init($this->url);
        curl_setopt_array($call, [
            CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
            CURLOPT_HTTPHEADER => $this->headers(),
            CURLOPT_POSTFIELDS => pack('CN', 0, strlen($message)) . $message,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT_MS => intdiv($this->options['timeout'], 1000),
            CURLOPT_HEADERFUNCTION => function ($call, string $line) use (&$received): int {
                [$name, $value] = array_pad(explode(':', $line, 2), 2, '');
                $received[strtolower($name)] = trim($value);
                return strlen($line);
            },
        ]);
        $body = curl_exec($call);
        if (!isset($received['grpc-status'])) {
            $code = curl_errno($call) === CURLE_OPERATION_TIMEDOUT ? STATUS_DEADLINE_EXCEEDED : STATUS_UNAVAILABLE;
            return [null, (object) ['code' => $code, 'details' => curl_error($call), 'metadata' => []]];
        }
        $status = (object) [
            'code' => (int) $received['grpc-status'],
            'details' => rawurldecode($received['grpc-message'] ?? ''),
            'metadata' => array_map(fn (string $value): array => [$value], $received),
        ];
        if ($status->code !== STATUS_OK) {
            return [null, $status];
        }
        $response = new $this->response();
        $response->mergeFromString(substr($body, 5));
        return [$response, $status];
    }

    private function headers(): array
    {
        $headers = ['content-type: application/grpc', 'te: trailers', "grpc-timeout: {$this->options['timeout']}u"];
        foreach ($this->metadata as $name => $values) {
            foreach ($values as $value) {
                $headers[] = "{$name}: {$value}";
            }
        }
        return $headers;
    }
}
