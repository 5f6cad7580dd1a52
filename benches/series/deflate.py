import json

from figures import CLAIM, Section, claim, median, rounds
from servers import load, running

COMMENTS = {
    "estructura": (
        "La estructura de la presentación es clara y el ritmo acompaña bien a las ideas, aunque la introducción se alarga más de lo "
        "necesario y la conclusión llega con prisa. Conviene repartir mejor el tiempo entre las tres partes."
    ),
    "voz": (
        "Se le escucha sin esfuerzo desde el fondo de la sala. Habla deprisa cuando se pone nervioso: una pausa después de cada cifra "
        "ayudaría a quien toma apuntes, y también a usted."
    ),
    "contenido": (
        "Las fuentes son recientes y están bien citadas; falta una comparación con los países vecinos. El gráfico de costes merece "
        "una diapositiva propia, pues de él depende todo el argumento."
    ),
}
PAYLOAD = {
    "ts": "{ts}", "seq": "{seq}", "id": 48_213, "usuarioId": 456, "temaId": 17, "titulo": "Energías renovables en el altiplano",
    "calificaciones": [{"criterio": name, "puntaje": 4.5, "comentario": comment} for name, comment in COMMENTS.items()],
}
BODY = json.dumps({"event": "bench.event", "payload": PAYLOAD, "target": {"rooms": ["r{room}"]}}, ensure_ascii=False, separators=(",", ":"))
# How many subscribe, and how many notifications they get a second.
RATES = {1: 5_000, 1_000: 50}


def deflate(options):
    """What `PERMESSAGE_DEFLATE=on` costs and saves: the notification of an assessment, in three short paragraphs, to 1,000 subscribers, 50 a second."""

    def measure(how):
        conns, compressed = how
        pace = ["--conns", conns, "--rate", RATES[conns], "--seconds", options.seconds]
        with running("ours", PERMESSAGE_DEFLATE="on") as server:
            offer = ["--deflate"] if compressed else []
            return load("fanout", *server.how, "--body", BODY, *pace, *offer)

    keys = ["deliveries_per_cpu_second", "microseconds_per_publish", "bytes_per_delivery"]
    say = lambda how: f"{how[0]:,} who take it {'compressed' if how[1] else 'as it is'}"
    found = rounds(options, measure, [(conns, compressed) for conns in RATES for compressed in (True, False)], keys, say)
    both = lambda conns, key: (median(found[conns, True], key), median(found[conns, False], key))
    return Section("Compression", CLAIM, [
        claim("deliveries per CPU second, 1,000 who take it compressed", *both(1_000, "deliveries_per_cpu_second"), "about 1", beside_is="as it is"),
        claim("CPU for a publish to a single one who does", *both(1, "microseconds_per_publish"), "–", " µs", "as it is"),
        claim("bytes for each subscriber", *both(1_000, "bytes_per_delivery"), "≪ 1", beside_is="as it is"),
    ])
