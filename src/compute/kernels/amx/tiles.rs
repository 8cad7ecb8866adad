//! Rows of floats against panels of digits, on a processor that has tiles.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _mm512_cvtepi32_ps, _mm512_loadu_si512};
use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;

use super::split::{self, BLOCK, DEPTH, TILE};
use crate::compute::kernels::buffer::Buffer;
use crate::compute::kernels::lanes::{Avx512, Lanes, WIDTH};
use crate::compute::kernels::tile::{ANYWHERE, EVEN, Panels, Part, Place, Run, Walk, finish};

/// Whether this processor has tiles of bytes, and the system lets this process use them: it asks, since a thread that
/// does has eight kilobytes more to be saved.
pub fn is_available() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        const TILES: u32 = 1 << 24;
        const BYTES: u32 = 1 << 25;
        let features = __cpuid_count(7, 0).edx;
        features & TILES != 0 && features & BYTES != 0 && permitted()
    })
}

/// Linux's `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, for the whole process.
fn permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const REQUEST: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: it changes nothing but the permission.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Panels as digits: their tiles, and what each column is scaled back by. `None` where there are no tiles.
pub fn split(panels: &[f32], k: usize) -> Option<(Buffer, Buffer)> {
    // SAFETY: every processor with AMX has AVX-512.
    is_available().then(|| unsafe { split::panels(panels, k) })
}

/// Bytes of rows' digits that are walked over for every panel before the next rows come.
const ROOM_BYTES: usize = 512 << 10;

/// So few rows that the three digits of all fit one tile. The products of bytes are the same, and half as many tiles are
/// multiplied: of rows r and s against a tile of each digit of the columns,
///
/// ```text
///            | × high        × middle      × low
/// r high     | r, high sum   r, middle     r, low
/// s high     | s, high sum   s, middle     s, low
/// r middle   | r, middle     r, low        –
/// s middle   | s, middle     s, low        –
/// r low      | r, low        –             –
/// s low      | s, low        –             –
/// ```
const FEW: usize = WIDTH / 3;

/// What a thread keeps from one product to the next.
#[derive(Default)]
struct Room {
    /// Tiles of rows: `[rows / 16][block][digit]`.
    tiles: Buffer,
    /// Of each row.
    back: Buffer,
    /// One row's floats, gathered from its runs.
    line: Buffer,
}

thread_local! {
    static ROOM: Cell<Room> = Cell::default();
}

/// Some rows against some panels, whose columns come back by `columns`.
///
/// # Safety
/// As [`walk`](crate::compute::kernels::tile::walk); the panels are digits, and this processor has AMX.
pub unsafe fn part(part: &Part<'_>, columns: *const f32) {
    let mut room = ROOM.take();
    // SAFETY: the caller's; every processor with AMX has AVX-512.
    unsafe { blocks(part, columns, &mut room) };
    ROOM.set(room);
}

#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn blocks(part: &Part<'_>, columns: *const f32, room: &mut Room) {
    let Panels { k, data, stride, bias, .. } = part.walk.panels;
    let (blocks, all) = (k.div_ceil(DEPTH), part.rows.len());
    if all == 0 {
        return;
    }
    let most = (ROOM_BYTES / (blocks * BLOCK)).max(1) * WIDTH;
    let tiles = most.min(all).div_ceil(WIDTH);
    reserve(&mut room.tiles, tiles * blocks * BLOCK / 4);
    reserve(&mut room.back, tiles * WIDTH);
    reserve(&mut room.line, k + WIDTH);
    let mut sums = Sums([[[0; WIDTH]; WIDTH]; 3]);
    // In a tile of few rows, from one digit's first row to the next one's.
    let apart = all.min(FEW);
    // SAFETY: the rows and panels named exist, and the room is as large as was asked for.
    unsafe {
        // The fewer rows a tile of sums has, the sooner it is written.
        configure(if all > FEW { WIDTH } else { 3 * apart });
        let mut start = part.rows.start;
        while start < part.rows.end {
            let end = (start + most).min(part.rows.end);
            read(part.walk, start..end, apart, room);
            for panel in part.panels.start..part.panels.end {
                let columns = Columns {
                    panel,
                    tiles: data.add(panel * stride).cast(),
                    back: Avx512::load(columns.add(panel * WIDTH)),
                    bias: match bias {
                        Some(bias) => Avx512::load(bias.add(panel * WIDTH)),
                        None => Avx512::splat(0.0),
                    },
                };
                against(part.walk, start..end, &columns, room, (&mut sums, apart));
            }
            start = end;
        }
        release();
    }
}

/// Makes a buffer no smaller than that. One that is large enough stays as it is.
fn reserve(buffer: &mut Buffer, count: usize) {
    if buffer.len() < count {
        buffer.resize(count);
    }
}

/// The digits of some rows. Those of the last few lie `apart` rows of one tile from each other.
#[inline(always)]
unsafe fn read(walk: &Walk<'_>, rows: Range<usize>, apart: usize, room: &mut Room) {
    let (k, blocks) = (walk.panels.k, walk.panels.k.div_ceil(DEPTH));
    let mut place = Place::of(rows.start, walk.width);
    // SAFETY: the rows exist, and there is room for them.
    unsafe {
        let tiles = room.tiles.as_mut_ptr().cast::<u8>();
        for at in 0..rows.len() {
            let mut from = walk.input.add(place.offset(walk.from));
            match walk.runs {
                [run] => from = from.add(run.offset),
                runs => {
                    gather(from, runs, &mut room.line);
                    from = room.line.as_ptr();
                }
            }
            let to = tiles.add(at / WIDTH * blocks * BLOCK + at % WIDTH * DEPTH);
            let is_few = rows.len() - at / WIDTH * WIDTH <= FEW;
            let apart = if is_few { apart * DEPTH } else { TILE };
            *room.back.as_mut_ptr().add(at) = split::row(from, k, to, apart);
            place = place.after(1, walk.width);
        }
    }
}

/// A row's runs, one after the other.
#[inline(always)]
unsafe fn gather(from: *const f32, runs: &[Run], line: &mut Buffer) {
    let mut to = line.as_mut_ptr();
    for run in runs {
        let mut done = 0;
        while done < run.count {
            // SAFETY: the run is there, and the line has a vector's room beyond the last one.
            unsafe {
                let part = Avx512::load_part(from.add(run.offset + done), run.count - done);
                part.store(to.wrapping_add(done));
            }
            done += WIDTH;
        }
        to = to.wrapping_add(run.count);
    }
}

/// Sixteen columns.
struct Columns {
    panel: usize,
    tiles: *const u8,
    back: Avx512,
    bias: Avx512,
}

/// What a pair of tiles makes: for each power of the base, sums of products of digits.
#[repr(align(64))]
struct Sums([[[i32; WIDTH]; WIDTH]; 3]);

impl Sums {
    /// What [`multiply_few`] made becomes what [`multiply`] would have.
    #[inline(always)]
    fn join(&mut self, rows: usize, apart: usize) {
        let [first, second, third] = &mut self.0;
        for row in 0..rows {
            for lane in 0..WIDTH {
                third[row][lane] += second[apart + row][lane] + first[2 * apart + row][lane];
                second[row][lane] += first[apart + row][lane];
            }
        }
    }
}

/// Some rows against some columns.
#[inline(always)]
unsafe fn against(
    walk: &Walk<'_>,
    rows: Range<usize>,
    columns: &Columns,
    room: &Room,
    (sums, apart): (&mut Sums, usize),
) {
    let blocks = walk.panels.k.div_ceil(DEPTH);
    let mut tiles = room.tiles.as_ptr().cast::<u8>();
    let mut back = room.back.as_ptr();
    let mut row = rows.start;
    // SAFETY: each tile of rows has its digits, and rows beyond the end are not written.
    unsafe {
        while row < rows.end {
            let (count, mut done) = ((rows.end - row).min(WIDTH), 0);
            if count <= FEW {
                multiply_few(tiles, columns.tiles, blocks, sums);
                sums.join(count, apart);
            } else {
                multiply(tiles, columns.tiles, blocks, sums);
            }
            while done + 8 <= count {
                write::<8>(walk, row + done, columns, back, (sums, done));
                done += 8;
            }
            while done < count {
                write::<1>(walk, row + done, columns, back, (sums, done));
                done += 1;
            }
            tiles = tiles.add(blocks * BLOCK);
            back = back.add(WIDTH);
            row += WIDTH;
        }
    }
}

/// Rows of sums as floats, with all that follows a product.
#[inline(always)]
unsafe fn write<const R: usize>(
    walk: &Walk<'_>,
    row: usize,
    columns: &Columns,
    back: *const f32,
    (sums, first): (&Sums, usize),
) {
    const BASE: f32 = 256.0;
    let [high, middle, low] = &sums.0;
    let place = Place::of(row, walk.width);
    // SAFETY: the R rows and the panel exist.
    unsafe {
        let mut made = [[columns.bias]; R];
        for (r, made) in made.iter_mut().enumerate() {
            let at = first + r;
            let base = Avx512::splat(BASE);
            let sum = floats(&high[at]).fma(base, floats(&middle[at])).fma(base, floats(&low[at]));
            // The low sum counts in 2¹⁶: a row's scale has 256 of it, and a column's. Rows may be large, weights are not: the
            // row's comes last.
            made[0] = sum.mul(columns.back).fma(Avx512::splat(*back.add(at)), columns.bias);
        }
        if place.pixel + R <= walk.width {
            finish::<Avx512, R, 1, EVEN>(walk, place, columns.panel, made);
        } else {
            finish::<Avx512, R, 1, ANYWHERE>(walk, place, columns.panel, made);
        }
    }
}

/// Sixteen whole numbers as floats.
#[inline(always)]
unsafe fn floats(numbers: &[i32; WIDTH]) -> Avx512 {
    // SAFETY: the caller's.
    unsafe { Avx512(_mm512_cvtepi32_ps(_mm512_loadu_si512(numbers.as_ptr().cast()))) }
}

/// Tiles of sixteen rows of 64 bytes; the sums and the tile of few rows have so many `rows`.
unsafe fn configure(rows: usize) {
    #[repr(align(64))]
    struct Shape([u8; 64]);
    /// Tiles of sums, and the first of rows.
    const FEWER: usize = 4;
    let mut shape = Shape([0; 64]);
    // The only palette there is; then two bytes a tile for the bytes of a row, and one for its rows.
    shape.0[0] = 1;
    for tile in 0..8 {
        shape.0[16 + 2 * tile] = 64;
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        let rows = if tile < FEWER { rows as u8 } else { 16 };
        shape.0[48 + tile] = rows;
    }
    // SAFETY: the shape is one that the palette has.
    unsafe { asm!("ldtilecfg [{}]", in(reg) shape.0.as_ptr(), options(nostack, readonly)) };
}

/// Clears the tiles: a thread without them has less to be saved.
unsafe fn release() {
    // SAFETY: nobody uses them any more.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// A tile of all three digits of few rows, by each digit of columns.
#[inline(always)]
unsafe fn multiply_few(a: *const u8, b: *const u8, blocks: usize, sums: &mut Sums) {
    // SAFETY: as [`multiply`].
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "2:",
            "tileloadd tmm3, [{a} + {line}]",
            "tileloadd tmm4, [{b} + {line}]",
            "tileloadd tmm5, [{b} + {line} + 1024]",
            "tdpbssd tmm0, tmm3, tmm4",
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tdpbssd tmm1, tmm3, tmm5",
            "tdpbssd tmm2, tmm3, tmm6",
            "add {a}, 3072",
            "add {b}, 3072",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            "tilestored [{sums} + {line} + 2048], tmm2",
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            blocks = inout(reg) blocks => _,
            sums = in(reg) &raw mut *sums,
            line = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Sums of the products of so many blocks of rows' digits, `a`, and of columns', `b`.
#[inline(always)]
unsafe fn multiply(a: *const u8, b: *const u8, blocks: usize, sums: &mut Sums) {
    // SAFETY: the caller's: the blocks are there, the tiles are configured, and the sums are three tiles.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "2:",
            "tileloadd tmm3, [{a} + {line}]",
            "tileloadd tmm6, [{b} + {line}]",
            "tileloadd tmm4, [{a} + {line} + 1024]",
            "tdpbssd tmm0, tmm3, tmm6",
            "tdpbssd tmm1, tmm4, tmm6",
            "tileloadd tmm5, [{a} + {line} + 2048]",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbssd tmm2, tmm5, tmm6",
            "tdpbssd tmm1, tmm3, tmm7",
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tdpbssd tmm2, tmm4, tmm7",
            "tdpbssd tmm2, tmm3, tmm6",
            "add {a}, 3072",
            "add {b}, 3072",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            "tilestored [{sums} + {line} + 2048], tmm2",
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            blocks = inout(reg) blocks => _,
            sums = in(reg) &raw mut *sums,
            line = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
