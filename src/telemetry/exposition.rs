//! From `OpenMetrics` text to the text format that Prometheus and its tools have always read.

/// The media type of what [`prometheus_text`] gives.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// In `OpenMetrics` a counter's family is called without `_total`, and there are `UNIT` and `EOF`
/// lines; in Prometheus' format the family is called as its samples are.
pub fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let following = lines.peek().copied().unwrap_or_default();
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let counter = is_counter(line) || (line.starts_with("# HELP ") && is_counter(following));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            [hash, keyword, name, rest] if counter => {
                text.extend([hash, " ", keyword, " ", name, "_total ", rest, "\n"]);
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

fn is_counter(line: &str) -> bool {
    line.starts_with("# TYPE ") && line.ends_with(" counter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_called_as_their_samples_are() {
        let open = "# HELP x_rows Rows run.\n# TYPE x_rows counter\nx_rows_total 1\n\
                    # HELP x_busy_seconds Time.\n# TYPE x_busy_seconds counter\n\
                    # UNIT x_busy_seconds seconds\nx_busy_seconds_total 2.5\n\
                    # HELP x_depth Now.\n# TYPE x_depth gauge\nx_depth 3\n# EOF\n";
        let prometheus = "# HELP x_rows_total Rows run.\n# TYPE x_rows_total counter\n\
                          x_rows_total 1\n# HELP x_busy_seconds_total Time.\n\
                          # TYPE x_busy_seconds_total counter\nx_busy_seconds_total 2.5\n\
                          # HELP x_depth Now.\n# TYPE x_depth gauge\nx_depth 3\n";
        assert_eq!(prometheus_text(open), prometheus);
    }
}
