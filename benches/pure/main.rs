//! The pure parts by the clock: `cargo bench --bench pure`. On a noisy machine count instead: `scripts/bench counts`.

mod acts;

use acts::House;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use exposia_notifications::{broker::Rules, domain::Audience, wire::encoded};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// How many members there are, in however many rooms.
const MEMBERS: usize = 10_000;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    publish(&mut criterion)?;
    fan_out(&mut criterion)?;
    receivers(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// What a publish is made of.
fn publish(criterion: &mut Criterion) -> Result<()> {
    let rules = Rules::default();
    let draft = acts::draft(&rules)?;
    criterion.bench_function("read", |bencher| bencher.iter(|| acts::draft(&rules)));
    criterion.bench_function("route", |bencher| bencher.iter(|| rules.route(&draft)));
    let notification = || acts::notification(Audience::Everyone).expect("the body is valid");
    criterion.bench_function("encode", |bencher| {
        bencher.iter_batched_ref(
            notification,
            |notification| encoded::notification_frame(notification).len(),
            BatchSize::SmallInput,
        )
    });
    Ok(())
}

/// A notification for each room, to every member.
fn fan_out(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("fan out");
    group.throughput(Throughput::Elements(MEMBERS as u64));
    for rooms in [1, 100, MEMBERS] {
        let mut house = House::new(MEMBERS, rooms)?;
        group.bench_function(BenchmarkId::from_parameter(rooms), |bencher| bencher.iter(|| house.fan_out()));
    }
    group.finish();
    Ok(())
}

/// What a publish to two rooms counts, with so many members in both together.
fn receivers(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("receivers");
    for members in [1_000, 3_000, 100_000] {
        let house = House::new(members, 2)?;
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| bencher.iter(|| house.receivers()));
    }
    group.finish();
    Ok(())
}
