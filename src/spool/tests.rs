//! The spool on a real disk: order, limits, kill -9, torn files, a full disk.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::store::Store;
use super::*;

const PLENTY: u64 = 1 << 30;
const DEADLINE: Duration = Duration::from_secs(20);

fn record(number: u64) -> Bytes {
    let mut record = number.to_be_bytes().to_vec();
    record.resize(8 + usize::try_from(number % 900).unwrap(), 7);
    Bytes::from(record)
}

fn number(record: &Bytes) -> u64 {
    u64::from_be_bytes(record[..8].try_into().unwrap())
}

async fn everything(spool: &Spool) -> Vec<(u64, Bytes)> {
    let mut all: Vec<(u64, Bytes)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |(position, _)| *position);
        let page = spool.read(after, 100).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn numbers(spool: &Spool) -> Vec<u64> {
    let all = everything(spool).await;
    all.iter().map(|(_, record)| number(record)).collect()
}

#[tokio::test]
async fn records_and_their_order_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let spool = Spool::open(dir.path(), PLENTY).unwrap();
        spool.append((0..500).map(record).collect()).await.unwrap();
        spool
            .append((500..503).map(record).collect())
            .await
            .unwrap();
    }
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    assert_eq!(numbers(&spool).await, (0..503).collect::<Vec<_>>());
    assert_eq!(spool.depth().records, 503);
    spool.append(vec![record(503)]).await.unwrap();
    let all = everything(&spool).await;
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(number(&all[503].1), 503);
}

#[tokio::test]
async fn pages_begin_after_the_position_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    spool.append((0..10).map(record).collect()).await.unwrap();
    let first = spool.read(0, 4).await.unwrap();
    assert_eq!(first.len(), 4);
    let second = spool.read(first[3].0, 100).await.unwrap();
    let seen: Vec<u64> = first
        .iter()
        .chain(&second)
        .map(|(_, record)| number(record))
        .collect();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    assert!(spool.read(second[5].0, 4).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    let large = Bytes::from(vec![1; 3 * 1024 * 1024]);
    let huge = Bytes::from(vec![2; 6 * 1024 * 1024]);
    spool
        .append(vec![large.clone(), large, huge.clone()])
        .await
        .unwrap();
    assert_eq!(spool.read(0, 10).await.unwrap().len(), 1);
    assert_eq!(spool.read(2, 10).await.unwrap(), [(3, huge)]);
}

#[tokio::test]
async fn removal_takes_part_of_a_group_and_positions_keep_rising() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    spool.append((0..10).map(record).collect()).await.unwrap();
    let before = spool.depth();
    let all = everything(&spool).await;
    spool.remove_through(all[3].0).await.unwrap();
    assert_eq!(numbers(&spool).await, (4..10).collect::<Vec<_>>());
    let gone: u64 = all[..4]
        .iter()
        .map(|(_, record)| record.len() as u64 + 8)
        .sum();
    assert_eq!(
        spool.depth(),
        Depth {
            records: 6,
            bytes: before.bytes - gone
        }
    );

    spool.remove_through(u64::MAX).await.unwrap();
    assert_eq!(spool.depth(), Depth::default());
    assert!(everything(&spool).await.is_empty());
    spool.append(vec![record(99)]).await.unwrap();
    let next = everything(&spool).await;
    assert!(next[0].0 > all[9].0);
}

#[tokio::test]
async fn a_full_spool_refuses_the_whole_call_and_takes_again_after_removal() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), 10_000).unwrap();
    let kilobyte = Bytes::from(vec![0; 992]);
    spool.append(vec![kilobyte.clone(); 9]).await.unwrap();
    let refused = spool.append(vec![kilobyte.clone(); 2]).await;
    assert_eq!(refused, Err(SpoolError::Full { max_bytes: 10_000 }));
    assert_eq!(
        spool.depth(),
        Depth {
            records: 9,
            bytes: 9_000
        }
    );
    spool.append(vec![kilobyte.clone()]).await.unwrap();
    spool.remove_through(2).await.unwrap();
    spool.append(vec![kilobyte; 2]).await.unwrap();
    assert_eq!(spool.depth().records, 10);
}

#[tokio::test]
async fn the_file_shrinks_when_it_is_drained() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    for _ in 0..16 {
        spool
            .append(vec![Bytes::from(vec![3; 64 * 1024]); 32])
            .await
            .unwrap();
    }
    let file = dir.path().join("spool.redb");
    let full = fs::metadata(&file).unwrap().len();
    assert!(full > 32 * 1024 * 1024, "{full}");
    spool.remove_through(u64::MAX).await.unwrap();
    let drained = fs::metadata(&file).unwrap().len();
    assert!(drained < 4 * 1024 * 1024, "{drained}");
}

#[tokio::test]
async fn the_same_space_is_used_again_while_the_queue_never_empties() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    let group = vec![Bytes::from(vec![3; 64 * 1024]); 16];
    spool.append(group.clone()).await.unwrap();
    for round in 1..=200 {
        spool.append(group.clone()).await.unwrap();
        spool.remove_through(round * 16).await.unwrap();
    }
    let size = fs::metadata(dir.path().join("spool.redb")).unwrap().len();
    assert!(
        size < 64 * 1024 * 1024,
        "200 MiB went through a file of {size} bytes"
    );
    assert_eq!(spool.depth().records, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_share_commits_and_each_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    let callers = (0..8u64).map(|caller| {
        let spool = spool.clone();
        async move {
            for step in 0..50 {
                spool
                    .append(vec![record(caller * 1000 + step)])
                    .await
                    .unwrap();
            }
        }
    });
    futures_util::future::join_all(callers).await;
    let mut last = [None; 8];
    for number in numbers(&spool).await {
        let slot = &mut last[usize::try_from(number / 1000).unwrap()];
        assert!(slot.is_none_or(|before| before < number));
        *slot = Some(number);
    }
    assert_eq!(spool.depth().records, 400);
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let first = Spool::open(dir.path(), PLENTY).unwrap();
    let second = Spool::open(dir.path(), PLENTY);
    assert!(matches!(second, Err(SpoolError::Busy(_))), "{second:?}");
    drop(first);
    Spool::open(dir.path(), PLENTY).unwrap();
}

/// Tells the kill test that it is the process to be killed, and where to append.
const APPEND_TO: &str = "BRIDGE_TEST_APPEND_TO";

/// Appends until it is killed, and says what was promised.
async fn append_for_ever(dir: &Path) -> ! {
    let spool = Spool::open(dir, PLENTY).unwrap();
    let mut out = std::io::stdout();
    let mut first = 0;
    loop {
        let records = (first..first + 10).map(record).collect();
        spool.append(records).await.unwrap();
        writeln!(out, "promised {}", first + 9).unwrap();
        first += 10;
    }
}

/// The kill test once more, as the process that is to be killed.
fn spawn_appender(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("spool::tests::what_an_append_promised_survives_kill_9")
        .args(["--exact", "--nocapture"])
        .env(APPEND_TO, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets the other process append, kills it hard, and returns the last number that it was promised.
fn killed_in_full_flight(dir: &Path) -> u64 {
    let mut child = spawn_appender(dir);
    let mut promised = None;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while promised < Some(800) {
        let line = lines.next().expect("it died before it was killed").unwrap();
        promised = line
            .strip_prefix("promised ")
            .map(|n| n.parse::<u64>().unwrap())
            .or(promised);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines.map_while(Result::ok) {
        promised = line
            .strip_prefix("promised ")
            .map(|n| n.parse::<u64>().unwrap())
            .or(promised);
    }
    promised.unwrap()
}

#[tokio::test]
async fn what_an_append_promised_survives_kill_9() {
    if let Some(dir) = std::env::var_os(APPEND_TO) {
        append_for_ever(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let promised = killed_in_full_flight(dir.path());
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    let kept = numbers(&spool).await;
    assert_eq!(kept, (0..kept.len() as u64).collect::<Vec<_>>());
    assert!(
        kept.len() as u64 > promised,
        "{} kept, {promised} promised",
        kept.len()
    );
}

#[tokio::test]
async fn a_file_with_garbage_behind_its_end_opens_with_what_was_promised() {
    let dir = tempfile::tempdir().unwrap();
    let promised = killed_in_full_flight(dir.path());
    let file = dir.path().join("spool.redb");
    let mut handle = OpenOptions::new().append(true).open(&file).unwrap();
    handle.write_all(&[0xA5; 5000]).unwrap();
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    let kept: BTreeSet<u64> = numbers(&spool).await.into_iter().collect();
    assert!((0..=promised).all(|number| kept.contains(&number)));
    spool.append(vec![record(1)]).await.unwrap();
}

/// `before` with those sectors of `after` that `keep` lets through, as a power cut leaves a file.
fn half_written(before: &[u8], after: &[u8], mut keep: impl FnMut() -> bool) -> Vec<u8> {
    const SECTOR: usize = 512;
    let mut file = before.to_vec();
    file.resize(after.len(), 0);
    for (old, new) in file.chunks_mut(SECTOR).zip(after.chunks(SECTOR)) {
        if old != new && keep() {
            old.copy_from_slice(new);
        }
    }
    file
}

#[tokio::test]
async fn a_power_cut_in_the_middle_of_a_commit_costs_nothing_that_was_promised() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spool.redb");
    let spool = Spool::open(dir.path(), PLENTY).unwrap();
    for group in 0..5 {
        spool
            .append((group * 20..group * 20 + 20).map(record).collect())
            .await
            .unwrap();
    }
    let before = fs::read(&file).unwrap();
    let last: Vec<Bytes> = (100..180)
        .map(record)
        .chain([Bytes::from(vec![5; 2_000_000])])
        .collect();
    spool.append(last).await.unwrap();
    let after = fs::read(&file).unwrap();
    assert!(
        after.len() > before.len(),
        "the file has to grow for its tail to be torn"
    );
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..60 {
        let share = f64::from(round) / 60.0;
        let cut = dir.path().join(format!("cut{round}"));
        fs::create_dir(&cut).unwrap();
        let image = half_written(&before, &after, || random.f64() < share);
        fs::write(cut.join("spool.redb"), image).unwrap();
        let spool = Spool::open(&cut, PLENTY).unwrap_or_else(|error| panic!("{round}: {error}"));
        let kept = everything(&spool).await;
        let promised: Vec<u64> = kept
            .iter()
            .take(100)
            .map(|(_, record)| number(record))
            .collect();
        assert_eq!(promised, (0..100).collect::<Vec<_>>(), "{round}");
        assert!([100, 181].contains(&kept.len()), "{round}: {}", kept.len());
        spool.append(vec![record(1)]).await.unwrap();
    }
}

/// A file system of a few megabytes; `None` where the system does not let the test mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said aloud, where that needs rights that are missing.
    fn mount(dir: &Path) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(dir)
            .stderr(Stdio::null())
            .status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self(dir.to_owned()));
        }
        // Past the capture of the test runner, which shows nothing of a test that passes.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: mounting a small file system needs root"
        );
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Appends groups of records from `promised` on until one is refused; why it was.
async fn fill(spool: &Spool, promised: &mut u64, group: u64) -> SpoolError {
    loop {
        let records: Vec<Bytes> = (*promised..*promised + group).map(record).collect();
        match spool.append(records).await {
            Ok(()) => *promised += group,
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_the_spool_recovers_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        return;
    };
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![1; 6 * 1024 * 1024]).unwrap();
    let spool = Spool::open(&dir.path().join("spool"), PLENTY).unwrap();
    let mut promised = 0;
    let failure = fill(&spool, &mut promised, 100).await;
    assert!(matches!(failure, SpoolError::Disk { .. }), "{failure}");
    assert!(promised > 0);
    assert_eq!(spool.depth().records, promised);

    fs::remove_file(&ballast).unwrap();
    let begun = Instant::now();
    while let Err(error) = spool.append(vec![record(promised)]).await {
        assert!(begun.elapsed() < DEADLINE, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(numbers(&spool).await, (0..=promised).collect::<Vec<_>>());
    drop(spool);
    drop(disk);
}

#[tokio::test]
async fn a_full_disk_does_not_keep_the_spool_from_being_drained() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        return;
    };
    let spool = Spool::open(&dir.path().join("spool"), PLENTY).unwrap();
    let mut promised = 0;
    // Down to the last page: a group that is refused may still fit one by one.
    for group in [100, 10, 1] {
        fill(&spool, &mut promised, group).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let ballast = dir.path().join("ballast");
    let _ = fs::write(&ballast, vec![1; 12 * 1024 * 1024]);
    let mut drained = Vec::new();
    let begun = Instant::now();
    while spool.depth().records > 0 {
        let page = spool.read(0, 512).await.unwrap();
        drained.extend(page.iter().map(|(_, record)| number(record)));
        spool.remove_through(page.last().unwrap().0).await.unwrap();
        assert!(begun.elapsed() < DEADLINE);
    }
    assert_eq!(drained, (0..promised).collect::<Vec<_>>());
    fs::remove_file(&ballast).unwrap();
    spool.append(vec![record(7)]).await.unwrap();
    assert_eq!(numbers(&spool).await, [7]);
    drop(spool);
    drop(disk);
}

#[tokio::test]
async fn an_append_that_finds_no_room_keeps_nobody_from_reading() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        return;
    };
    let spool = Spool::open(&dir.path().join("spool"), PLENTY).unwrap();
    let mut promised = 0;
    fill(&spool, &mut promised, 100).await;
    assert_eq!(numbers(&spool).await, (0..promised).collect::<Vec<_>>());
    // The disk is not asked again at once, whoever asks.
    assert!(spool.append(vec![record(promised)]).await.is_err());
    assert_eq!(numbers(&spool).await, (0..promised).collect::<Vec<_>>());
    drop(spool);
    drop(disk);
}

#[test]
fn a_disk_that_takes_no_writes_gives_what_it_holds_and_keeps_it_for_another_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), None).unwrap();
    let records: Vec<Bytes> = (0..300).map(record).collect();
    store.append(&records).unwrap();
    let marks = store.marks();
    drop(store);
    let before = fs::read(dir.path().join("spool.redb")).unwrap();

    let mut frozen = Store::open_frozen(dir.path(), marks).unwrap();
    let read = |store: &Store| {
        let page = store.read(0, 1000).unwrap();
        page.iter()
            .map(|(_, bytes)| number(bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&frozen), (0..300).collect::<Vec<_>>());
    frozen.remove_through(120).unwrap();
    assert_eq!(read(&frozen), (120..300).collect::<Vec<_>>());
    assert!(frozen.append(&[record(300)]).is_err());
    frozen.remove_through(300).unwrap();
    assert_eq!(frozen.depth(), Depth::default());
    let marks = frozen.marks();
    drop(frozen);
    assert_eq!(fs::read(dir.path().join("spool.redb")).unwrap(), before);

    let mut mended = Store::open(dir.path(), Some(marks)).unwrap();
    assert_eq!(mended.depth(), Depth::default());
    mended.append(&[record(300)]).unwrap();
    assert_eq!(read(&mended), [300]);
}
