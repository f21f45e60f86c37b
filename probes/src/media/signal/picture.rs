//! The test picture: a moving scene with a machine-readable time code at its top and bottom.
//!
//! The time code has two rows of 40 cells, each a fortieth of the width wide and 2/45 of the height
//! high, so that it survives any rescaling. First a black and a white cell for calibration, then 16
//! bit frame counter, 40 bit capture time in microseconds, 6 bit stream number and a CRC-16/CCITT
//! of these. The strip at the bottom carries the same inverted. Everything else in the picture
//! follows from seed and counter, so the reference of any frame can be made again.

use std::f32::consts::TAU;

const COLUMNS: usize = 40;
const ROWS: usize = 2;
const CELLS: usize = COLUMNS * ROWS;
const BLACK: u8 = 40;
const WHITE: u8 = 216;
/// Bits before the check sum.
const PAYLOAD: u32 = 62;
/// Least difference of the calibration cells.
const CONTRAST: f32 = 40.0;
/// Least distance of a cell from the threshold, as a share of half the contrast. Cells of a picture
/// that was blended or concealed fall short of it, which keeps what the check sum cannot see out.
const CLARITY: f32 = 0.2;
/// Smallest picture that is read, in pixels of width and height: a cell of 2 by 2.
const SMALLEST: (usize, usize) = (80, 45);

/// What a time code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeCode {
    /// Frame counter, the lowest 16 bits.
    pub counter: u16,
    /// Capture time in microseconds, the lowest 40 bits (12.7 days).
    pub captured_us: u64,
    /// Number of the stream, 0 to 63.
    pub stream: u8,
}

impl TimeCode {
    /// The code of one frame; `captured_us` and `stream` are cut to their 40 and 6 bits.
    pub fn new(counter: u64, captured_us: u64, stream: u8) -> Self {
        Self { counter: counter as u16, captured_us: captured_us & ((1 << 40) - 1), stream: stream & 63 }
    }

    fn bits(self) -> u128 {
        let payload = u128::from(self.counter) << 46 | u128::from(self.captured_us) << 6 | u128::from(self.stream);
        // The calibration cells are a zero and a one.
        1 << 78 | payload << 16 | u128::from(crc(payload))
    }

    fn from_bits(bits: u128) -> Option<Self> {
        let payload = bits >> 16 & ((1 << PAYLOAD) - 1);
        let code = Self::new((payload >> 46) as u64, (payload >> 6) as u64, payload as u8);
        (code.bits() == bits).then_some(code)
    }

    /// The counter beyond 16 bits that ends like this one and is nearest to `near`, but not negative.
    pub fn extended(self, near: u64) -> u64 {
        let ahead = self.counter.wrapping_sub(near as u16);
        let behind = near.checked_sub(u64::from(ahead.wrapping_neg())).filter(|_| ahead >= 0x8000);
        behind.unwrap_or_else(|| near.saturating_add(u64::from(ahead)))
    }
}

/// CRC-16/CCITT (polynomial 0x1021, initial value 0xFFFF), most significant bit first.
fn crc(payload: u128) -> u16 {
    (0..PAYLOAD).rev().fold(0xFFFF, |crc: u16, i| {
        let bit = (payload >> i & 1) as u16;
        let shifted = crc << 1;
        if crc >> 15 ^ bit == 1 { shifted ^ 0x1021 } else { shifted }
    })
}

/// A time code read from a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadCode {
    /// The newer of the codes that could be read.
    pub code: TimeCode,
    /// Whether one strip could not be read, or the two disagree: part of the picture is missing.
    pub torn: bool,
}

/// Reads the time code of a picture of any size: rows of `width` bytes of luma, `stride` apart.
/// `None` if there is none to be read, or the buffer is too short for the size.
pub fn read(luma: &[u8], width: usize, height: usize, stride: usize) -> Option<ReadCode> {
    let needed = stride.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
    if width < SMALLEST.0 || height < SMALLEST.1 || stride < width || luma.len() < needed {
        return None;
    }
    let strip = |top: f64, inverted| read_strip(luma, (width, height), stride, top, inverted);
    let last = height as f64 * (1.0 - 2.0 * ROWS as f64 / 45.0);
    match (strip(0.0, false), strip(last, true)) {
        (Some(top), Some(bottom)) => {
            let newer = if top.counter.wrapping_sub(bottom.counter) < 0x8000 { top } else { bottom };
            Some(ReadCode { code: newer, torn: top != bottom })
        }
        (Some(code), None) | (None, Some(code)) => Some(ReadCode { code, torn: true }),
        (None, None) => None,
    }
}

/// Reads the strip whose upper edge is at `top`. The caller has checked size and buffer.
fn read_strip(luma: &[u8], size: (usize, usize), stride: usize, top: f64, inverted: bool) -> Option<TimeCode> {
    let (width, height) = size;
    let cell = (width as f64 / COLUMNS as f64, height as f64 * 2.0 / 45.0);
    // The central half of a cell along one axis, at least one pixel.
    let middle = |start: f64, length: f64, limit: usize| {
        let first = ((start + 0.25 * length).ceil() as usize).min(limit - 1);
        let end = ((start + 0.75 * length) as usize).clamp(first + 1, limit);
        first..end
    };
    let mut means = [0.0_f32; CELLS];
    for (i, mean) in means.iter_mut().enumerate() {
        let rows = middle(top + (i / COLUMNS) as f64 * cell.1, cell.1, height);
        let columns = middle((i % COLUMNS) as f64 * cell.0, cell.0, width);
        let count = rows.len() * columns.len();
        let row_sum = |y: usize| luma[y * stride..][columns.clone()].iter().map(|&x| u32::from(x)).sum::<u32>();
        *mean = rows.map(row_sum).sum::<u32>() as f32 / count as f32;
    }
    let contrast = if inverted { means[0] - means[1] } else { means[1] - means[0] };
    if contrast <= CONTRAST {
        return None;
    }
    let threshold = (means[0] + means[1]) / 2.0;
    if means.iter().any(|mean| (mean - threshold).abs() < CLARITY * contrast / 2.0) {
        return None;
    }
    let bits = means.iter().fold(0, |bits, &mean| bits << 1 | u128::from((mean > threshold) != inverted));
    TimeCode::from_bits(bits)
}

/// Part of one row of the picture that does not move.
#[derive(Debug)]
struct Span {
    row: usize,
    column: usize,
    pixels: Vec<u8>,
}

/// Draws the test picture.
#[derive(Debug)]
pub struct Source {
    width: usize,
    height: usize,
    /// The texture, `height` rows of `texture_width`; it wraps round sideways.
    texture: Vec<u8>,
    texture_width: usize,
    still: Vec<Span>,
}

/// Coarsest grain of the texture, in pixels.
const COARSEST: usize = 128;

impl Source {
    /// A source of pictures of `width` by `height` pixels, at least 80 by 46 and even; smaller and
    /// odd sizes are rounded up. The same seed gives the same texture.
    /// Takes some hundred milliseconds: to be made before the call.
    pub fn new(width: usize, height: usize, seed: u64) -> Self {
        let (width, height) = (width.max(80).next_multiple_of(2), height.max(46).next_multiple_of(2));
        let texture_width = (width + COARSEST).next_multiple_of(COARSEST);
        let texture = texture(texture_width, height, seed);
        let mut still = slanted_edge(width, height);
        still.extend(siemens_star(width, height));
        Self { width, height, texture, texture_width, still }
    }

    /// Width and height of the pictures.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Draws the frame of `code` as I420: `luma` of width × height bytes, `chroma` (both planes) of
    /// a quarter of that each. What does not fit into a shorter buffer is left out.
    pub fn draw(&self, code: TimeCode, luma: &mut [u8], chroma: [&mut [u8]; 2]) {
        // The scene moves two pixels a frame.
        let shift = usize::from(code.counter) * 2 % self.texture_width;
        for (row, texture) in luma.chunks_exact_mut(self.width).zip(self.texture.chunks_exact(self.texture_width)) {
            let (left, right) = row.split_at_mut(self.width.min(self.texture_width - shift));
            left.copy_from_slice(&texture[shift..shift + left.len()]);
            right.copy_from_slice(&texture[..right.len()]);
        }
        for span in &self.still {
            let start = span.row * self.width + span.column;
            if let Some(row) = luma.get_mut(start..start + span.pixels.len()) {
                row.copy_from_slice(&span.pixels);
            }
        }
        self.draw_code(code.bits(), luma);
        for plane in chroma {
            plane.fill(128);
        }
    }

    fn draw_code(&self, bits: u128, luma: &mut [u8]) {
        let edge = |row: usize| (row * self.height * 2 + 22) / 45;
        for (i, shift) in (0..CELLS).rev().enumerate() {
            let bit = bits >> shift & 1 == 1;
            let columns = i % COLUMNS * self.width / COLUMNS..(i % COLUMNS + 1) * self.width / COLUMNS;
            let row = i / COLUMNS;
            let above_end = self.height - edge(ROWS - row)..self.height - edge(ROWS - row - 1);
            for (rows, bit) in [(edge(row)..edge(row + 1), bit), (above_end, !bit)] {
                for y in rows {
                    if let Some(cell) = luma.get_mut(y * self.width + columns.start..y * self.width + columns.end) {
                        cell.fill(if bit { WHITE } else { BLACK });
                    }
                }
            }
        }
    }
}

/// Noise whose amplitude falls with frequency, like that of camera pictures: octaves of equal
/// power, grains of 2 to [`COARSEST`] pixels.
fn texture(width: usize, height: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut sum = vec![0.0_f32; width * height];
    let mut grain = 2;
    while grain <= COARSEST {
        let (across, down) = (width / grain, height / grain + 2);
        let lattice: Vec<f32> = (0..across * down).map(|_| rng.f32() - 0.5).collect();
        for (i, sum) in sum.iter_mut().enumerate() {
            let (x, y) = (i % width, i / width);
            let (fx, fy) = ((x % grain) as f32 / grain as f32, (y % grain) as f32 / grain as f32);
            let at = |dx: usize, dy: usize| lattice[(x / grain + dx) % across + (y / grain + dy) * across];
            let upper = at(0, 0) + (at(1, 0) - at(0, 0)) * fx;
            let lower = at(0, 1) + (at(1, 1) - at(0, 1)) * fx;
            *sum += upper + (lower - upper) * fy;
        }
        grain *= 2;
    }
    let power = sum.iter().map(|x| x * x).sum::<f32>() / sum.len() as f32;
    let gain = 38.0 / power.sqrt().max(f32::MIN_POSITIVE);
    sum.iter().map(|x| (128.0 + gain * x).clamp(16.0, 235.0) as u8).collect()
}

/// A patch of a quarter of the width by 45 % of the height with an edge slanted by 5° (the idea of
/// ISO 12233), for measuring sharpness.
fn slanted_edge(width: usize, height: usize) -> Vec<Span> {
    let (left, top) = (width * 6 / 100, height * 42 / 100);
    let (across, down) = (width / 4, height * 45 / 100);
    let slope = 5.0_f32.to_radians().tan();
    let row = |y: usize| {
        let pixel = |x: usize| {
            let distance = x as f32 - across as f32 / 2.0 - (y as f32 - down as f32 / 2.0) * slope;
            (128.0 + 176.0 * distance.clamp(-0.5, 0.5)) as u8
        };
        Span { row: top + y, column: left, pixels: (0..across).map(pixel).collect() }
    };
    (0..down).map(row).collect()
}

/// A star of 24 spokes, radius 24 % of the height.
fn siemens_star(width: usize, height: usize) -> Vec<Span> {
    let (centre_x, centre_y) = (width as f32 * 0.66, height as f32 * 0.64);
    let radius = (height as f32 * 0.24).min(width as f32 * 0.3);
    let row = |y: usize| {
        let dy = y as f32 - centre_y;
        let reach = (radius * radius - dy * dy).max(0.0).sqrt();
        let first = (centre_x - reach).ceil() as usize;
        let pixel = |x: usize| {
            let angle = dy.atan2(x as f32 - centre_x).rem_euclid(TAU);
            if (24.0 * angle).sin() >= 0.0 { 208 } else { 48 }
        };
        Span { row: y, column: first, pixels: (first..(centre_x + reach) as usize).map(pixel).collect() }
    };
    ((centre_y - radius).ceil() as usize..(centre_y + radius) as usize).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(source: &Source, code: TimeCode) -> Vec<u8> {
        let (width, height) = source.size();
        let mut luma = vec![0; width * height];
        let mut chroma = [vec![0; width * height / 4], vec![0; width * height / 4]];
        let [u, v] = &mut chroma;
        source.draw(code, &mut luma, [u, v]);
        assert!(chroma.iter().flatten().all(|x| *x == 128));
        luma
    }

    /// Bilinear rescaling into rows `stride` apart.
    fn scaled(luma: &[u8], from: (usize, usize), to: (usize, usize), stride: usize) -> Vec<u8> {
        let mut out = vec![99; stride * to.1];
        for y in 0..to.1 {
            for x in 0..to.0 {
                let place = |i: usize, from: usize, to: usize| {
                    let at = ((i as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, (from - 1) as f32);
                    let low = (at as usize).min(from.saturating_sub(2));
                    (low, at - low as f32)
                };
                let ((x0, fx), (y0, fy)) = (place(x, from.0, to.0), place(y, from.1, to.1));
                let at = |dx, dy| f32::from(luma[(y0 + dy) * from.0 + x0 + dx]);
                let upper = at(0, 0) * (1.0 - fx) + at(1, 0) * fx;
                let lower = at(0, 1) * (1.0 - fx) + at(1, 1) * fx;
                out[y * stride + x] = (upper * (1.0 - fy) + lower * fy) as u8;
            }
        }
        out
    }

    const CODE: TimeCode = TimeCode { counter: 40_321, captured_us: 0xAB_CDEF_0123, stream: 37 };

    #[test]
    fn check_sum_is_crc_16_ccitt_over_the_62_bits() {
        // Bit by bit over a register, as the definition has it.
        let payload = CODE.bits() >> 16 & ((1 << 62) - 1);
        let mut register = 0xFFFF_u32;
        for i in (0..62).rev() {
            register ^= ((payload >> i & 1) as u32) << 15;
            register = if register & 0x8000 != 0 { (register << 1 ^ 0x1021) & 0xFFFF } else { register << 1 & 0xFFFF };
        }
        assert_eq!(u32::from(crc(payload)), register);
    }

    #[test]
    fn what_is_drawn_is_read() {
        for (width, height) in [(640, 360), (1280, 720), (320, 180), (160, 90), (642, 362), (854, 480), (1, 1)] {
            let source = Source::new(width, height, 5);
            let (width, height) = source.size();
            for code in [CODE, TimeCode::new(0, 0, 0), TimeCode::new(u64::MAX, u64::MAX, 255)] {
                let luma = draw(&source, code);
                assert_eq!(read(&luma, width, height, width), Some(ReadCode { code, torn: false }), "{width}x{height}");
            }
        }
    }

    #[test]
    fn it_is_read_after_rescaling_at_any_stride() {
        let luma = draw(&Source::new(640, 360, 5), CODE);
        for (width, height) in [(1920, 1080), (960, 540), (480, 270), (320, 240), (333, 211), (240, 136), (160, 90)] {
            for stride in [width, width + 13] {
                let scaled = scaled(&luma, (640, 360), (width, height), stride);
                let got = read(&scaled, width, height, stride);
                assert_eq!(got, Some(ReadCode { code: CODE, torn: false }), "{width}x{height} at {stride}");
            }
        }
    }

    #[test]
    fn one_lost_or_older_strip_makes_it_torn_and_the_newer_code_counts() {
        let source = Source::new(640, 360, 5);
        let (old, new) = (TimeCode::new(65_535, 5, 1), TimeCode::new(65_536, 9, 1));
        let (older, newer) = (draw(&source, old), draw(&source, new));
        let half = 640 * 180;
        let torn = Some(ReadCode { code: new, torn: true });
        assert_eq!(read(&[&newer[..half], &older[half..]].concat(), 640, 360, 640), torn);
        assert_eq!(read(&[&older[..half], &newer[half..]].concat(), 640, 360, 640), torn);
        let grey = vec![128; half];
        assert_eq!(read(&[&newer[..half], &grey].concat(), 640, 360, 640), torn);
        assert_eq!(read(&[&grey, &newer[half..]].concat(), 640, 360, 640), torn);
        assert_eq!(read(&[&grey[..], &grey].concat(), 640, 360, 640), None);
    }

    #[test]
    fn counters_extend_across_their_wrap() {
        let extended = |counter, near| TimeCode::new(counter, 0, 0).extended(near);
        assert_eq!(extended(3, 65_530), 65_539);
        assert_eq!(extended(65_530, 65_540), 65_530);
        assert_eq!(extended(7, 0), 7);
        assert_eq!(extended(65_535, 2), 65_535, "never below zero");
    }

    #[test]
    fn the_scene_moves_and_follows_from_seed_and_counter() {
        let source = Source::new(640, 360, 5);
        let (first, second) = (draw(&source, TimeCode::new(9, 0, 0)), draw(&source, TimeCode::new(10, 0, 0)));
        assert_eq!(first, draw(&Source::new(640, 360, 5), TimeCode::new(9, 0, 0)));
        assert_ne!(first, draw(&Source::new(640, 360, 6), TimeCode::new(9, 0, 0)));
        let row = 640 * 100;
        assert_eq!(first[row + 2..row + 640], second[row..row + 638], "two pixels to the left");
        // Wrapping round the texture leaves no seam and no panic.
        for counter in [383, 384, 385, 65_535] {
            draw(&source, TimeCode::new(counter, 0, 0));
        }
    }

    #[test]
    fn rubbish_is_neither_accepted_nor_fatal() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let (width, height) = (rng.usize(0..200), rng.usize(0..120));
            let stride = rng.usize(0..220);
            let length = rng.usize(0..26_000);
            let luma: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
            assert_eq!(read(&luma, width, height, stride), None, "{width}x{height} at {stride}");
        }
        assert_eq!(read(&[], usize::MAX, usize::MAX, usize::MAX), None);
        assert_eq!(read(&[0; 10_000], 100, usize::MAX, 100), None);
        let mut short = [0; 5000];
        Source::new(640, 360, 1).draw(CODE, &mut short, [&mut [], &mut []]);
    }

    #[test]
    fn noise_that_happens_to_fit_the_check_sum_is_refused() {
        // The check sum alone lets one in 65 536 pass; these are enough for some to.
        let mut rng = fastrand::Rng::with_seed(14);
        let mut luma = [0; 80 * 45];
        for round in 0..400_000 {
            rng.fill(&mut luma[..4 * 80]);
            rng.fill(&mut luma[41 * 80..]);
            assert_eq!(read(&luma, 80, 45, 80), None, "round {round}");
        }
    }

    #[test]
    fn damage_never_makes_a_wrong_code() {
        let mut rng = fastrand::Rng::with_seed(12);
        let source = Source::new(320, 180, 5);
        let (mut right, mut unread) = (0, 0);
        for round in 0..3_000_u64 {
            let (old, new) =
                (TimeCode::new(round, round * 33_333, 1), TimeCode::new(round + 1, round * 33_333 + 33_333, 1));
            let (before, mut luma) = (draw(&source, old), draw(&source, new));
            match round % 4 {
                // A slice of the previous frame shows through.
                0 => {
                    let slices = rng.usize(1..8);
                    for _ in 0..slices {
                        let (from, to) = (rng.usize(0..luma.len()), rng.usize(0..luma.len()));
                        let (from, to) = (from.min(to), from.max(to));
                        luma[from..to].copy_from_slice(&before[from..to]);
                    }
                }
                // Blended with the previous frame.
                1 => {
                    let share = rng.f32();
                    for (new, old) in luma.iter_mut().zip(&before) {
                        *new = (f32::from(*new) * share + f32::from(*old) * (1.0 - share)) as u8;
                    }
                }
                // Macroblocks of noise.
                2 => {
                    for _ in 0..rng.usize(1..60) {
                        let (x, y, grey) = (rng.usize(0..304), rng.usize(0..164), rng.u8(..));
                        for row in y..y + 16 {
                            luma[row * 320 + x..row * 320 + x + 16].fill(grey);
                        }
                    }
                }
                // Noise over everything.
                _ => {
                    let strength = rng.i32(1..400);
                    luma.iter_mut()
                        .for_each(|x| *x = (i32::from(*x) + rng.i32(-strength..=strength)).clamp(0, 255) as u8);
                }
            }
            match read(&luma, 320, 180, 320) {
                Some(read) if read.code == new || (read.code == old && round % 4 < 2) => right += 1,
                Some(wrong) => assert_eq!(wrong.code, new, "round {round}"),
                None => unread += 1,
            }
        }
        assert!(right > 500 && unread > 100, "the damage must be of both kinds: {right} read, {unread} not");
    }

    #[test]
    fn h264_at_a_low_rate_leaves_every_code_readable() {
        use openh264::{
            OpenH264API,
            decoder::Decoder,
            encoder::{BitRate, Encoder, EncoderConfig, FrameRate, UsageType},
            formats::{YUVSlices, YUVSource},
        };
        let config = EncoderConfig::new()
            .bitrate(BitRate::from_bps(150_000))
            .max_frame_rate(FrameRate::from_hz(30.0))
            .skip_frames(true)
            .usage_type(UsageType::CameraVideoRealTime);
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).expect("a valid config");
        let mut decoder = Decoder::new().expect("a decoder");
        let source = Source::new(640, 360, 5);
        let grey = vec![128; 320 * 180];
        let mut decoded = 0;
        for counter in 0..90 {
            let code = TimeCode::new(counter, counter * 33_333, 2);
            let luma = draw(&source, code);
            let picture = YUVSlices::new((&luma, &grey, &grey), (640, 360), (640, 320, 320));
            let stream = encoder.encode(&picture).expect("a valid picture").to_vec();
            if let Some(picture) = decoder.decode(&stream).expect("our own stream") {
                let got = read(picture.y(), 640, 360, picture.strides().0);
                assert_eq!(got, Some(ReadCode { code, torn: false }), "frame {counter}");
                decoded += 1;
            }
        }
        assert!(decoded > 45, "only {decoded} of 90 frames decoded");
    }
}
