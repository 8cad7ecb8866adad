//! The plan against the candle graph, at every level, and its promise about batches.

use super::*;
use crate::arch::cnn::config;
use crate::arch::cnn::net::build;
use crate::compute::kernels::{Team, is_available};
use crate::compute::layers::Mode;
use crate::compute::{Device, Trainable};

fn network(input: [usize; 3], layers: &str) -> Cnn {
    let table = toml::from_str(&format!("layers = [{layers}]")).unwrap();
    let layers = config::parse(&table).unwrap();
    build(&layers, input, &mut Trainable::new(3, &Device::Cpu)).unwrap()
}

/// Noise that is the same for the same seed.
fn sample(input: [usize; 3], seed: u32) -> Vec<f32> {
    let count = u32::try_from(input.iter().product::<usize>()).unwrap();
    let value = |i: u32| f32::from(u16::try_from((i * 7919 + seed * 104_729) % 1000).unwrap());
    (0..count).map(|i| value(i) / 500.0 - 1.0).collect()
}

/// Two samples, one after the other in the same arena, agree with the graph; and the first has the same
/// bits alone, among 32, and with two threads.
fn check(input: [usize; 3], layers: &str) {
    let cnn = network(input, layers);
    let samples: Vec<Vec<f32>> = (0..3).map(|seed| sample(input, seed)).collect();
    let x = cnn.batch(&samples, &Device::Cpu).unwrap();
    let expected = cnn.forward(&x, &mut Mode::Evaluation).unwrap().to_vec2::<f32>().unwrap();
    for level in Level::ALL.into_iter().filter(|&level| is_available(level)) {
        let plan = Plan::new(&cnn, level).unwrap();
        let got = plan.run(&samples);
        for (got, expected) in got.iter().zip(&expected) {
            for (got, expected) in got.iter().zip(expected) {
                assert!(
                    (got - expected).abs() <= 1e-5 * (1.0 + expected.abs()),
                    "{level} {layers}"
                );
            }
        }
        let team = Team::new(2);
        assert_eq!(team.install(|| plan.run(&samples)), got, "{level} {layers}");
        let many: Vec<&[f32]> = samples.iter().cycle().map(Vec::as_slice).take(32).collect();
        assert_eq!(plan.run(&many)[30], plan.run(&samples[..1])[0], "{level} {layers}");
    }
}

const HEAD: &str = r#"{ kind = "global-average-pool" }, { kind = "linear", out = 5 }"#;

#[test]
fn plain_networks_agree_with_the_graph() {
    let dense = r#"{ kind = "flatten" }, { kind = "linear", out = 17 }, { kind = "relu" },
        { kind = "dropout", rate = 0.5 }, { kind = "linear", out = 3 }"#;
    for convolution in [
        "out = 6, kernel = 5",
        "out = 19, kernel = 3, stride = 2, padding = \"same\"",
        "out = 33, kernel = [2, 3], padding = 1, dilation = 2",
        "out = 1, kernel = 1, stride = 3, bias = false",
    ] {
        let first = format!("{{ kind = \"convolution\", {convolution} }}, {{ kind = \"relu\" }}");
        for input in [[1, 13, 11], [3, 12, 12], [18, 9, 10]] {
            check(input, &format!("{first}, {dense}"));
            check(
                input,
                &format!(
                    "{first}, {{ kind = \"max-pool\", kernel = 2, stride = 1 }},
                     {{ kind = \"convolution\", out = 20, kernel = 3, padding = 2 }},
                     {{ kind = \"batch-norm\" }}, {{ kind = \"gelu\" }},
                     {{ kind = \"average-pool\", kernel = 2 }}, {dense}"
                ),
            );
        }
    }
}

#[test]
fn a_network_may_begin_with_something_else_than_a_convolution() {
    check(
        [20, 8, 6],
        &format!("{{ kind = \"max-pool\", kernel = 3, stride = 2, padding = 1 }}, {HEAD}"),
    );
    check([3, 8, 6], &format!("{{ kind = \"silu\" }}, {HEAD}"));
    check([3, 8, 6], HEAD);
}

#[test]
fn residual_blocks_agree_with_the_graph() {
    let body = r#"{ kind = "convolution", out = 24, kernel = 3, stride = 2, padding = 1, bias = false },
        { kind = "batch-norm" }, { kind = "relu" },
        { kind = "convolution", out = 24, kernel = 3, padding = 1, bias = false }, { kind = "batch-norm" }"#;
    let narrow = r#"{ kind = "convolution", out = 24, kernel = 1, stride = 2, bias = false },
        { kind = "batch-norm" }"#;
    let same = r#"{ kind = "convolution", out = 24, kernel = 3, padding = 1 }, { kind = "relu" }"#;
    check(
        [3, 17, 20],
        &format!(
            "{{ kind = \"convolution\", out = 20, kernel = 7, stride = 2, padding = 3 }},
             {{ kind = \"max-pool\", kernel = 3, stride = 2, padding = 1 }},
             {{ kind = \"residual\", layers = [{body}], shortcut = [{narrow}], activation = \"relu\" }},
             {{ kind = \"residual\", layers = [{same}], activation = \"relu\" }},
             {{ kind = \"residual\", layers = [] }}, {HEAD}"
        ),
    );
}

#[test]
fn inverted_bottlenecks_agree_with_the_graph_in_one_band_and_in_many() {
    for size in [7, 12, 60] {
        let block = |out: usize, expand: usize, kernel: usize, stride: usize| {
            format!(
                "{{ kind = \"inverted-bottleneck\", out = {out}, expand = {expand},
                   kernel = {kernel}, stride = {stride}, activation = \"relu6\" }}"
            )
        };
        let blocks =
            [block(16, 1, 3, 1), block(24, 6, 3, 2), block(24, 6, 5, 1), block(40, 3, 5, 2)];
        check(
            [3, size, size + 1],
            &format!(
                "{{ kind = \"convolution\", out = 20, kernel = 3, padding = \"same\" }}, {}, {HEAD}",
                blocks.join(", ")
            ),
        );
    }
}

#[test]
fn a_depthwise_picture_that_is_added_again_is_no_band() {
    check(
        [3, 8, 8],
        &format!(
            "{{ kind = \"convolution\", out = 3, kernel = 1 }},
             {{ kind = \"convolution\", out = 3, kernel = 3, padding = 1, groups = 3 }},
             {{ kind = \"residual\", layers = [{{ kind = \"convolution\", out = 3, kernel = 1 }}] }}, {HEAD}"
        ),
    );
}

#[test]
fn lines_that_are_stepped_over_are_not_kept_between_bands() {
    check(
        [3, 120, 121],
        &format!(
            "{{ kind = \"convolution\", out = 16, kernel = 1 }},
             {{ kind = \"inverted-bottleneck\", out = 16, expand = 6, kernel = 1, stride = 2, activation = \"relu6\" }},
             {HEAD}"
        ),
    );
}

#[test]
fn a_sample_that_overflows_spoils_no_other() {
    let wide = r#"{ kind = "convolution", out = 8, kernel = 3, padding = 1 }"#;
    let block =
        format!("{{ kind = \"residual\", layers = [{wide}, {{ kind = \"silu\" }}, {wide}] }}");
    let layers = format!(
        "{wide}, {block}, {block}, {{ kind = \"flatten\" }}, {{ kind = \"linear\", out = 3 }}"
    );
    let cnn = network([3, 9, 9], &layers);
    let plan = Plan::new(&cnn, Level::Portable).unwrap();
    let expected = plan.run(&[sample([3, 9, 9], 1)]);
    plan.run(&[vec![3e38; 3 * 81]]);
    assert_eq!(plan.run(&[sample([3, 9, 9], 1)]), expected);
}

#[test]
fn what_is_not_known_is_left_to_the_graph() {
    let grouped = r#"{ kind = "convolution", out = 4, kernel = 1, groups = 2 }"#;
    let cnn = network([4, 6, 6], &format!("{grouped}, {HEAD}"));
    assert!(Plan::new(&cnn, Level::Portable).is_none());
    // Two readers whose borders together are far larger than either.
    let far = |padding: &str, stride: &str| {
        format!(
            "{{ kind = \"convolution\", out = 1, kernel = 1, bias = false, padding = {padding}, stride = {stride} }}"
        )
    };
    let (down, across) = (far("[3000000, 0]", "[6000008, 8]"), far("[0, 3000000]", "[8, 6000008]"));
    let layers =
        format!("{{ kind = \"residual\", layers = [{down}], shortcut = [{across}] }}, {HEAD}");
    assert!(Plan::new(&network([1, 8, 8], &layers), Level::Portable).is_none());
}
