//! Whole loads, on servers that behave as no real one would on purpose.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::load::{Extent, Levels, Plan, Row, Shot, Spread, Target, run};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that answers the n-th request that it reads with `answer(n)`, counted from 0 over all connections;
/// the first is the rehearsal's.
fn server(answer: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || {
                serve(stream, || answer(count.fetch_add(1, Ordering::SeqCst)));
            });
        }
    });
    address
}

/// One connection to its end, or to the first answer that says `close`.
fn serve(mut stream: TcpStream, answer: impl Fn() -> &'static str) {
    let (mut buffer, mut read) = (vec![0; 4096], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer[read..]) {
        read += count;
        if buffer[..read].ends_with(b"\r\n\r\n") {
            read = 0;
            let answer = answer();
            if stream.write_all(answer.as_bytes()).is_err() || answer.contains("close") {
                return;
            }
        }
    }
}

fn plan(address: SocketAddr, levels: Levels, extent: Extent) -> Plan {
    let target = Target::read(&format!("http://{address}"), false).unwrap();
    let mut shot = Shot::get("/").unwrap();
    shot.set("host", &target.host).unwrap();
    Plan {
        target,
        shots: vec![shot],
        levels,
        extent,
        warm_up: Duration::ZERO,
        deadline: None,
        timeout: Duration::from_mins(1),
        probe: None,
        threads: 1,
    }
}

fn row(plan: &Plan) -> Row {
    let mut rows = run(plan, |_, _| ()).unwrap();
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn even(rate: f64, connections_max: usize) -> Levels {
    Levels::Open { rates: vec![rate], spread: Spread::Constant, seed: 0, connections_max }
}

fn clients(clients: usize, patient: bool) -> Levels {
    Levels::Closed { clients: vec![clients], patient }
}

#[test]
fn a_stall_does_not_slow_the_arrivals_and_shows_in_the_latency_of_all_that_it_delayed() {
    // Nothing is answered until twenty wait: a generator that waited for an answer would wait for ever.
    let waiting = Arc::new((Mutex::new(0), Condvar::new()));
    let address = server(move |n| {
        if n > 0 {
            let (count, changed) = &*waiting;
            let mut count = count.lock().unwrap();
            *count += 1;
            changed.notify_all();
            drop(changed.wait_while(count, |count| *count < 20).unwrap());
        }
        OK
    });
    let row = row(&plan(address, even(200.0, 100), Extent::Requests(40)));
    assert_eq!((row.requests, row.status.ok, row.unanswered, row.held), (40, 40, 0, 0));
    assert!(row.connections >= 20, "{row}");
    // The first was due 19 gaps of 5 ms before the twentieth came.
    assert!(row.latency_ms.p99 > Some(94.0), "{row}");
    assert!(row.latency_ms.p90 > Some(74.0), "{row}");
}

#[test]
fn what_waits_for_a_connection_waits_since_it_was_due() {
    // All are due within 2 ms, which is less than 200 answers over one connection take; `seconds` are rounded.
    let row = row(&plan(server(|_| OK), even(100_000.0, 1), Extent::Requests(200)));
    assert_eq!((row.requests, row.status.ok, row.connections, row.unsent), (200, 200, 1, 0));
    assert!(row.held > 0, "{row}");
    assert!(row.latency_ms.max > Some(row.seconds * 1e3 - 3.0), "{row}");
}

#[test]
fn what_could_not_be_sent_and_what_was_not_answered_is_said() {
    // Nobody answers after the rehearsal.
    let address = server(|n| if n == 0 { OK } else { "" });
    let extent = Extent::Time(Duration::from_millis(100));
    let mut plan = plan(address, even(200.0, 2), extent);
    plan.timeout = Duration::from_millis(200);
    let row = row(&plan);
    assert_eq!((row.requests, row.unanswered, row.status.ok), (2, 2, 0));
    assert_eq!((row.held, row.unsent), (18, 18));
    assert_eq!((row.offered_per_s, row.goodput_per_s), (Some(200.0), 0.0));
    assert!(row.latency_ms.max > Some(199.0), "{row}");
}

#[test]
fn refusals_are_counted_by_status_and_the_patient_wait_as_long_as_they_ask() {
    let address = server(|n| match n % 3 {
        1 => "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0.05\r\ncontent-length: 0\r\n\r\n",
        2 => "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0.01\r\ncontent-length: 0\r\n\r\n",
        _ => OK,
    });
    let row = row(&plan(address, clients(1, true), Extent::Requests(9)));
    let status = row.status;
    assert_eq!((status.ok, status.too_many, status.unavailable, status.other), (3, 3, 3, 0));
    let waits = row.retry_after_s;
    assert_eq!((waits.seen, waits.min, waits.max), (6, Some(0.01), Some(0.05)));
    // Three waits of each.
    assert!(row.seconds >= 0.17, "{row}");
    assert!(row.latency_ms.max < Some(row.seconds * 1e3), "{row}");
}

#[test]
fn a_connection_that_the_server_closes_is_opened_again() {
    let address = server(
        |_| "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    let row = row(&plan(address, clients(2, false), Extent::Requests(20)));
    assert_eq!((row.status.ok, row.connection_errors), (20, 0));
}

#[test]
fn an_answer_that_breaks_off_is_an_error_with_its_reason() {
    let address = server(|n| {
        if n == 0 {
            OK
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nok"
        }
    });
    let plan = plan(address, clients(1, false), Extent::Requests(2));
    let mut reasons = Vec::new();
    let rows = run(&plan, |_, error| reasons.extend(error.map(str::to_owned))).unwrap();
    assert_eq!((rows[0].connection_errors, rows[0].status.ok), (2, 0));
    assert!(reasons[0].starts_with("the connection ended before the answer did"), "{reasons:?}");
}

#[test]
fn a_late_answer_is_no_good_one() {
    // Whatever comes is later than that.
    let mut plan = plan(server(|_| OK), clients(1, false), Extent::Requests(1));
    plan.deadline = Some(Duration::ZERO);
    let row = row(&plan);
    assert_eq!((row.status.ok, row.goodput_per_s, row.deadline_ms), (1, 0.0, Some(0)));
    assert!(row.achieved_per_s > 0.0);
}

#[test]
fn a_server_that_refuses_the_request_is_not_loaded() {
    let address = server(|_| "HTTP/1.1 422 Unprocessable\r\ncontent-length: 6\r\n\r\nno cat");
    let plan = plan(address, clients(1, false), Extent::Requests(1));
    let refused = run(&plan, |_, _| ()).unwrap_err().to_string();
    assert!(refused.contains("/ was answered with 422") && refused.contains("no cat"), "{refused}");
}

#[test]
fn a_row_is_one_line_of_json_and_a_chart_has_a_point_for_each_percentile() {
    let address = server(|_| OK);
    let levels = Levels::Closed { clients: vec![1, 2], patient: false };
    let rows = run(&plan(address, levels, Extent::Requests(5)), |_, _| ()).unwrap();
    let json = serde_json::to_value(&rows[0]).unwrap();
    let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "achieved_per_s",
        "bytes_received",
        "bytes_sent",
        "concurrency",
        "connection_errors",
        "connections",
        "deadline_ms",
        "generator_cores",
        "goodput_per_s",
        "held",
        "latency_ms",
        "loop",
        "offered_per_s",
        "probe",
        "rate",
        "requests",
        "retry_after_s",
        "seconds",
        "status",
        "unanswered",
        "unsent",
        "url",
    ];
    assert!(expected.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(names.len(), expected.len(), "{names:?}");
    assert_eq!(json["url"], format!("http://{address}/"));
    let chart = super::chart(&rows);
    assert_eq!(
        (chart.matches("<circle").count(), chart.matches("stroke-width=\"2\"").count()),
        (4, 2)
    );
    assert!(chart.contains(">clients<") && chart.contains(&format!("http://{address}/")));
}
