/* Sums and extremes of docs/study.md 4 and 5, reduced on the device.
 *
 * Sums are float64 and run in a fixed order: a tile is TILE_COLS columns by a chunk of one image's rows, whose size depends on
 * the number of those rows alone; its partial results are joined by a last kernel in the order of the tiles. So an image's sums
 * do not depend on the batch. Counts are integers, and atomic additions give the same in any order. */
#include <math.h>
#include <string.h>

#include "backend/cuda/device.cuh"
#include "backend/histogram.h"

static constexpr unsigned TILE_FOURS = 32, TILE_HIGH = 8, TILE_COLS = 4 * TILE_FOURS, FINISH = 256;
static constexpr size_t CHUNK_ROWS = 64, MOST_CHUNKS = 256;

/* How each of several images is cut. */
struct tiling {
    size_t images, rows, chunk, chunks, strips, tiles; /* rows and tiles: of one image */
};

static tiling tiling_of(vs_mat x, size_t images) {
    const size_t rows = x.rows / images, wanted = vs_ceil_div(rows, MOST_CHUNKS);
    const size_t chunk = wanted < CHUNK_ROWS ? CHUNK_ROWS : wanted, chunks = vs_ceil_div(rows, chunk);
    const size_t strips = vs_ceil_div(x.cols, TILE_COLS);
    return { images, rows, chunk, chunks, strips, chunks * strips };
}

static dim3 grid_of(const tiling &l) { return dim3(vs_dim(l.strips), vs_dim(l.chunks), vs_dim(l.images)); }
static dim3 tile_block() { return dim3(TILE_FOURS, TILE_HIGH); }

static __device__ size_t tile_column() { return (static_cast<size_t>(blockIdx.x) * TILE_FOURS + threadIdx.x) * 4; }
static __device__ size_t tile_end(size_t chunk, size_t rows) {
    const size_t end = (blockIdx.y + size_t{ 1 }) * chunk;
    return end < rows ? end : rows;
}
static __device__ size_t tile_index() { return static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x; }

/* ---- |x|: sum, maximum and its first place, energy of every channel */

struct place {
    unsigned bits;            /* of the magnitude; every NaN has the same */
    unsigned long long index; /* row-major */
};

static __device__ bool before(const place &a, const place &b) {
    return a.bits > b.bits || (a.bits == b.bits && a.index < b.index);
}
static __device__ place shuffle_down(place v, unsigned by) {
    return { __shfl_down_sync(FULL_MASK, v.bits, by), __shfl_down_sync(FULL_MASK, v.index, by) };
}
struct abs_part {
    double sum;
    place most;
};

static __device__ abs_part shuffle_down(const abs_part &v, unsigned by) {
    return { shuffle_down(v.sum, by), shuffle_down(v.most, by) };
}
static __device__ abs_part block_join(const abs_part &v) {
    return block_reduce(v, abs_part{ 0, { 0u, ~0ull } }, [](const abs_part &a, const abs_part &b) {
        return abs_part{ a.sum + b.sum, before(b.most, a.most) ? b.most : a.most };
    });
}

/* Bins of 2^-20 .. 2^8, where most values are, are counted in shared memory first, and bin 0 in registers. */
static constexpr unsigned WINDOW_FIRST = 1 + (-20 - VS_HIST_EXP_MIN) * VS_HIST_PER_OCTAVE, WINDOW = 28 * VS_HIST_PER_OCTAVE;

/* What is asked of all tiles; energy [images, chunks, cols], parts [images, tiles], bins: each may be NULL. */
struct abs_job {
    vs_mat x;
    tiling l;
    double *energy;
    abs_part *parts;
    unsigned long long *bins;
};

/* What a thread gathers in one tile. It meets its values in row-major order, so the first of equal maxima stays. */
struct abs_sums {
    double squares[4], sum;
    int most;      /* bits of the largest magnitude, -1 before the first */
    unsigned seen; /* where: 4 * row within the chunk + column */
};

template <bool HIST>
static __device__ void take(abs_sums &s, const float v[4], unsigned n, unsigned row, unsigned *window, unsigned &zeros,
                            unsigned long long *bins) {
    double d[4];
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
        d[i] = static_cast<double>(v[i]);
        s.squares[i] = fma(d[i], d[i], s.squares[i]); /* the product is exact */
    }
    s.sum += (fabs(d[0]) + fabs(d[1])) + (fabs(d[2]) + fabs(d[3]));
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
        if (i >= n) break;
        const unsigned bits = magnitude_bits(v[i]);
        const int magnitude = static_cast<int>(min(bits, 0x7f800001u)); /* every NaN has the same */
        if (magnitude > s.most) {
            s.most = magnitude;
            s.seen = 4 * row + i;
        }
        if (!HIST) continue;
        const unsigned bin = vs_hist_bin_bits(bits), at = bin - WINDOW_FIRST; /* unsigned: smaller bins wrap */
        if (at < WINDOW)
            atomicAdd(&window[at], 1u);
        else if (bin == 0)
            zeros++;
        else
            atomicAdd(&bins[bin], 1ull);
    }
}

static __device__ void add_columns(const abs_job &j, const double squares[4], size_t strip, double *out) {
    __shared__ double column[TILE_HIGH][TILE_COLS];
    __syncthreads(); /* those of the tile before may still be read */
    for (unsigned i = 0; i < 4; i++) column[threadIdx.y][4 * threadIdx.x + i] = squares[i];
    __syncthreads();
    const unsigned mine = vs_thread_in_block();
    const size_t to = strip * TILE_COLS + mine;
    if (mine >= TILE_COLS || to >= j.x.cols) return;
    double total = 0;
    for (unsigned i = 0; i < TILE_HIGH; i++) total += column[i][mine];
    out[to] = total;
}

template <bool VEC, bool HIST> static __device__ void abs_tile(const abs_job &j, size_t tile, unsigned *window, unsigned &zeros) {
    const size_t image = tile / j.l.tiles, within = tile % j.l.tiles, strip = within % j.l.strips, chunk = within / j.l.strips;
    const size_t first = chunk * j.l.chunk, left = j.l.rows - first, c = (strip * TILE_FOURS + threadIdx.x) * 4;
    const unsigned rows = static_cast<unsigned>(left < j.l.chunk ? left : j.l.chunk);
    const unsigned n = c < j.x.cols ? vs_left(j.x.cols, c) : 0;
    constexpr unsigned AHEAD = 4; /* rows whose loads are under way at once */
    abs_sums s = { { 0, 0, 0, 0 }, 0, -1, 0 };
    for (unsigned r = threadIdx.y; r < rows && n; r += AHEAD * TILE_HIGH) {
        float v[AHEAD][4];
#pragma unroll
        for (unsigned k = 0; k < AHEAD; k++)
            if (r + k * TILE_HIGH < rows) load4<VEC>(vs_row(j.x, image * j.l.rows + first + r + k * TILE_HIGH) + c, n, v[k]);
#pragma unroll
        for (unsigned k = 0; k < AHEAD; k++)
            if (r + k * TILE_HIGH < rows) take<HIST>(s, v[k], n, r + k * TILE_HIGH, window, zeros, j.bins);
    }
    if (j.energy) add_columns(j, s.squares, strip, j.energy + (image * j.l.chunks + chunk) * j.x.cols);
    if (!j.parts) return;
    place most = { 0u, ~0ull };
    if (s.most >= 0) most = { static_cast<unsigned>(s.most), (first + s.seen / 4) * j.x.cols + c + s.seen % 4 };
    const abs_part part = block_join(abs_part{ s.sum, most });
    if (vs_thread_in_block() == 0) j.parts[tile] = part;
}

/* A block takes several tiles, so that its window is added to the bins once. */
template <bool VEC, bool HIST> static __global__ void __launch_bounds__(256) abs_tiles(abs_job j) {
    __shared__ unsigned window[HIST ? WINDOW : 1];
    const unsigned thread = vs_thread_in_block(), threads = TILE_FOURS * TILE_HIGH;
    unsigned zeros = 0;
    for (unsigned i = thread; HIST && i < WINDOW; i += threads) window[i] = 0;
    __syncthreads();
    for (size_t tile = blockIdx.x; tile < j.l.images * j.l.tiles; tile += gridDim.x) abs_tile<VEC, HIST>(j, tile, window, zeros);
    if (!HIST) return;
    __syncthreads();
    for (unsigned i = thread; i < WINDOW; i += threads)
        if (window[i]) atomicAdd(&j.bins[WINDOW_FIRST + i], static_cast<unsigned long long>(window[i]));
    const unsigned long long all = block_sum(static_cast<unsigned long long>(zeros));
    if (thread == 0 && all) atomicAdd(&j.bins[0], all);
}

/* Row y: image y. The last block of a row joins the parts, the others FINISH columns each. */
static __global__ void join_abs(abs_job j, double *energy_out, abs_part *parts_out) {
    const size_t image = blockIdx.y, c = static_cast<size_t>(blockIdx.x) * FINISH + threadIdx.x;
    if (blockIdx.x + 1 < gridDim.x) {
        if (c >= j.x.cols) return;
        const double *from = j.energy + image * j.l.chunks * j.x.cols + c;
        double sum = 0;
        for (size_t i = 0; i < j.l.chunks; i++) sum += from[i * j.x.cols];
        energy_out[image * j.x.cols + c] = sum;
        return;
    }
    if (!j.parts) return;
    abs_part all = { 0, { 0u, ~0ull } };
    for (size_t i = threadIdx.x; i < j.l.tiles; i += FINISH) {
        const abs_part part = j.parts[image * j.l.tiles + i];
        all.sum += part.sum;
        if (before(part.most, all.most)) all.most = part.most;
    }
    all = block_join(all);
    if (threadIdx.x == 0) parts_out[image] = all;
}

static constexpr size_t MOST_BLOCKS = 528; /* four for each of an H100's processors */

/* energy_out [images, cols], abs_out [images] and hist on the device; each may be NULL. */
static void launch_abs(vs_cuda_thread *t, vs_mat x, size_t images, double *energy_out, abs_part *abs_out, void *hist) {
    const tiling l = tiling_of(x, images);
    const size_t energies = energy_out ? images * l.chunks * x.cols : 0, tiles = images * l.tiles;
    double *scratch = static_cast<double *>(vs_cuda_scratch(t, energies * sizeof *scratch + tiles * sizeof(abs_part)));
    if (!scratch) return;
    const abs_job j = { x, l, energy_out ? scratch : NULL, abs_out ? reinterpret_cast<abs_part *>(scratch + energies) : NULL,
                        static_cast<unsigned long long *>(hist) };
    const unsigned blocks = vs_dim(tiles < MOST_BLOCKS ? tiles : MOST_BLOCKS);
    if (vs_aligned(x) && hist)
        abs_tiles<true, true><<<blocks, tile_block(), 0, t->stream>>>(j);
    else if (vs_aligned(x))
        abs_tiles<true, false><<<blocks, tile_block(), 0, t->stream>>>(j);
    else if (hist)
        abs_tiles<false, true><<<blocks, tile_block(), 0, t->stream>>>(j);
    else
        abs_tiles<false, false><<<blocks, tile_block(), 0, t->stream>>>(j);
    const size_t columns = energy_out ? vs_ceil_div(x.cols, FINISH) : 0;
    join_abs<<<dim3(vs_dim(columns + 1), vs_dim(images)), FINISH, 0, t->stream>>>(j, energy_out, abs_out);
    vs_cuda_end(t);
}

/* ---- abs_stats and channel_energy */

static void add_doubles(double *to, const char *staged, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double v;
        memcpy(&v, staged + i * sizeof v, sizeof v);
        to[i] += v;
    }
}

static void deliver_energy(const vs_delivery *d, const char *staged) {
    add_doubles(static_cast<double *>(d->to), staged, d->count);
}

static void deliver_abs(const vs_delivery *d, const char *staged) {
    abs_part part;
    memcpy(&part, staged, sizeof part);
    vs_abs_stats *out = static_cast<vs_abs_stats *>(d->to);
    float max;
    memcpy(&max, &part.most.bits, sizeof max);
    out->max = static_cast<double>(max);
    out->max_row = part.most.index / d->cols;
    out->max_col = part.most.index % d->cols;
    out->sum = part.sum;
    out->count = d->rows * d->cols;
    if (d->second) add_doubles(static_cast<double *>(d->second), staged + d->bytes_to_second, d->cols);
}

/* The slice: an abs_part an image, then the energies of each. */
static void abs_stats(const vs_backend *self, vs_mat x, size_t images, vs_abs_stats *const *out, void *hist,
                      double *const *energy) {
    for (size_t i = 0; i < images; i++) memset(out[i], 0, sizeof *out[i]);
    vs_cuda_thread *t = vs_cuda_begin(self, "abs_stats");
    if (!t || x.rows == 0 || x.cols == 0) return;
    const size_t energies = x.cols * sizeof(double);
    const vs_slice slice = vs_cuda_slice(t, images * (sizeof(abs_part) + (energy ? energies : 0)));
    if (!slice.device) return;
    abs_part *parts = reinterpret_cast<abs_part *>(slice.device);
    launch_abs(t, x, images, energy ? reinterpret_cast<double *>(parts + images) : NULL, parts, hist);
    for (size_t i = 0; i < images; i++) {
        vs_delivery d = {};
        d.deliver = deliver_abs;
        d.bytes_to_second = (images - i) * sizeof(abs_part) + i * energies;
        d.rows = x.rows / images;
        d.cols = x.cols;
        d.to = out[i];
        d.second = energy ? energy[i] : NULL;
        vs_cuda_deliver_at(t, &slice, i * sizeof(abs_part), d);
    }
}

static void channel_energy(const vs_backend *self, vs_mat x, double *sum_sq) {
    vs_cuda_thread *t = vs_cuda_begin(self, "channel_energy");
    if (!t || x.rows == 0 || x.cols == 0) return;
    const vs_slice slice = vs_cuda_slice(t, x.cols * sizeof *sum_sq);
    if (!slice.device) return;
    launch_abs(t, x, 1, reinterpret_cast<double *>(slice.device), NULL, NULL);
    vs_delivery d = {};
    d.deliver = deliver_energy;
    d.count = x.cols;
    d.to = sum_sq;
    vs_cuda_deliver(t, &slice, d);
}

/* ---- extremes of every channel and of every row */

/* A NaN is taken and then stays: no comparison with it is true. */
static __device__ float lower(float a, float b) { return b < a || b != b ? (a == a ? b : a) : a; }
static __device__ float higher(float a, float b) { return b > a || b != b ? (a == a ? b : a) : a; }

/* parts [chunks, 2, cols]: lowest, highest. */
template <bool VEC> static __global__ void minmax_tile(vs_mat x, size_t chunk, float *parts) {
    __shared__ float low[TILE_HIGH][TILE_COLS], high[TILE_HIGH][TILE_COLS];
    const size_t c = tile_column(), end = tile_end(chunk, x.rows);
    const unsigned n = c < x.cols ? vs_left(x.cols, c) : 0;
    float lo[4], hi[4];
    for (unsigned i = 0; i < 4; i++) {
        lo[i] = INFINITY;
        hi[i] = -INFINITY;
    }
    for (size_t r = blockIdx.y * chunk + threadIdx.y; r < end && n; r += TILE_HIGH) {
        float v[4];
        load4<VEC>(vs_row(x, r) + c, n, v);
        for (unsigned i = 0; i < 4; i++) {
            lo[i] = lower(lo[i], v[i]);
            hi[i] = higher(hi[i], v[i]);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        low[threadIdx.y][4 * threadIdx.x + i] = lo[i];
        high[threadIdx.y][4 * threadIdx.x + i] = hi[i];
    }
    __syncthreads();
    const unsigned mine = vs_thread_in_block();
    const size_t to = static_cast<size_t>(blockIdx.x) * TILE_COLS + mine;
    if (mine >= TILE_COLS || to >= x.cols) return;
    float *out = parts + 2 * blockIdx.y * x.cols + to;
    out[0] = low[0][mine];
    out[x.cols] = high[0][mine];
    for (unsigned i = 1; i < TILE_HIGH; i++) {
        out[0] = lower(out[0], low[i][mine]);
        out[x.cols] = higher(out[x.cols], high[i][mine]);
    }
}

static __global__ void join_minmax(const float *parts, size_t chunks, size_t cols, float *out) {
    const size_t c = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (c >= cols) return;
    float lo = parts[c], hi = parts[cols + c];
    for (size_t i = 1; i < chunks; i++) {
        lo = lower(lo, parts[2 * i * cols + c]);
        hi = higher(hi, parts[(2 * i + 1) * cols + c]);
    }
    out[c] = lo;
    out[cols + c] = hi;
}

static void deliver_minmax(const vs_delivery *d, const char *staged) {
    double *lo = static_cast<double *>(d->to), *hi = static_cast<double *>(d->second);
    for (size_t c = 0; c < d->count; c++) {
        float low, high;
        memcpy(&low, staged + c * sizeof low, sizeof low);
        memcpy(&high, staged + (d->count + c) * sizeof high, sizeof high);
        if (static_cast<double>(low) < lo[c] || isnan(low)) lo[c] = static_cast<double>(low); /* once NaN it stays */
        if (static_cast<double>(high) > hi[c] || isnan(high)) hi[c] = static_cast<double>(high);
    }
}

static void channel_minmax(const vs_backend *self, vs_mat x, double *lo, double *hi) {
    vs_cuda_thread *t = vs_cuda_begin(self, "channel_minmax");
    if (!t || x.rows == 0 || x.cols == 0) return;
    const tiling l = tiling_of(x, 1);
    const vs_slice slice = vs_cuda_slice(t, 2 * x.cols * sizeof(float));
    float *parts = static_cast<float *>(vs_cuda_scratch(t, 2 * l.chunks * x.cols * sizeof *parts));
    if (!slice.device || !parts) return;
    if (vs_aligned(x))
        minmax_tile<true><<<grid_of(l), tile_block(), 0, t->stream>>>(x, l.chunk, parts);
    else
        minmax_tile<false><<<grid_of(l), tile_block(), 0, t->stream>>>(x, l.chunk, parts);
    join_minmax<<<vs_dim(vs_ceil_div(x.cols, FINISH)), FINISH, 0, t->stream>>>(parts, l.chunks, x.cols,
                                                                               reinterpret_cast<float *>(slice.device));
    vs_cuda_end(t);
    vs_delivery d = {};
    d.deliver = deliver_minmax;
    d.count = x.cols;
    d.to = lo;
    d.second = hi;
    vs_cuda_deliver(t, &slice, d);
}

template <bool VEC> static __global__ void row_absmax_kernel(vs_mat x, float *out) {
    const float *row = vs_row(x, blockIdx.x);
    unsigned most = 0;
    for (size_t c = 4 * static_cast<size_t>(threadIdx.x); c < x.cols; c += 4 * static_cast<size_t>(blockDim.x)) {
        float v[4];
        load4<VEC>(row + c, vs_left(x.cols, c), v);
        for (unsigned i = 0; i < 4; i++) most = max(most, magnitude_bits(v[i]));
    }
    most = block_max(most);
    if (threadIdx.x == 0) out[blockIdx.x] = __uint_as_float(most);
}

static void deliver_floats(const vs_delivery *d, const char *staged) {
    double *to = static_cast<double *>(d->to);
    for (size_t i = 0; i < d->count; i++) {
        float v;
        memcpy(&v, staged + i * sizeof v, sizeof v);
        to[i] = static_cast<double>(v);
    }
}

static void row_absmax(const vs_backend *self, vs_mat x, double *out) {
    vs_cuda_thread *t = vs_cuda_begin(self, "row_absmax");
    if (!t || x.rows == 0) return;
    const vs_slice slice = vs_cuda_slice(t, x.rows * sizeof(float));
    if (!slice.device) return;
    float *to = reinterpret_cast<float *>(slice.device);
    if (vs_aligned(x))
        row_absmax_kernel<true><<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, to);
    else
        row_absmax_kernel<false><<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, to);
    vs_cuda_end(t);
    vs_delivery d = {};
    d.deliver = deliver_floats;
    d.count = x.rows;
    d.to = out;
    vs_cuda_deliver(t, &slice, d);
}

/* ---- sums behind SQNR */

struct error_part {
    double signal, noise;
    unsigned long long nonfinite;
};

static __device__ error_part shuffle_down(const error_part &v, unsigned by) {
    return { shuffle_down(v.signal, by), shuffle_down(v.noise, by), shuffle_down(v.nonfinite, by) };
}
static __device__ error_part block_error(const error_part &v) {
    return block_reduce(v, error_part{ 0, 0, 0 }, [](const error_part &a, const error_part &b) {
        return error_part{ a.signal + b.signal, a.noise + b.noise, a.nonfinite + b.nonfinite };
    });
}

/* parts [images, tiles]. */
template <bool VEC> static __global__ void __launch_bounds__(256) error_tile(vs_mat x, vs_mat y, tiling l, error_part *parts) {
    const size_t c = tile_column(), base = blockIdx.z * l.rows, end = tile_end(l.chunk, l.rows);
    const unsigned n = c < x.cols ? vs_left(x.cols, c) : 0;
    error_part sums = { 0, 0, 0 };
    unsigned nonfinite = 0;
#pragma unroll 2
    for (size_t r = blockIdx.y * l.chunk + threadIdx.y; r < end && n; r += TILE_HIGH) {
        float a[4], b[4];
        load4<VEC>(vs_row(x, base + r) + c, n, a);
        load4<VEC>(vs_row(y, base + r) + c, n, b);
        for (unsigned i = 0; i < n; i++) {
            const bool finite = isfinite(b[i]);
            const double signal = finite ? static_cast<double>(a[i]) : 0, noise = finite ? signal - static_cast<double>(b[i]) : 0;
            sums.signal += signal * signal;
            sums.noise += noise * noise;
            nonfinite += !finite;
        }
    }
    sums.nonfinite = nonfinite;
    sums = block_error(sums);
    if (vs_thread_in_block() == 0) parts[blockIdx.z * l.tiles + tile_index()] = sums;
}

/* Block i: image i. */
static __global__ void join_error(const error_part *parts, size_t tiles, error_part *out) {
    error_part sums = { 0, 0, 0 };
    for (size_t i = threadIdx.x; i < tiles; i += FINISH) {
        const error_part part = parts[blockIdx.x * tiles + i];
        sums.signal += part.signal;
        sums.noise += part.noise;
        sums.nonfinite += part.nonfinite;
    }
    sums = block_error(sums);
    if (threadIdx.x == 0) out[blockIdx.x] = sums;
}

static void deliver_error(const vs_delivery *d, const char *staged) {
    error_part part;
    memcpy(&part, staged, sizeof part);
    *static_cast<vs_error_sums *>(d->to) = vs_error_sums{ part.signal, part.noise, part.nonfinite };
}

static void error_sums(const vs_backend *self, vs_mat x, vs_mat y, size_t images, vs_error_sums *const *out) {
    for (size_t i = 0; i < images; i++) memset(out[i], 0, sizeof *out[i]);
    vs_cuda_thread *t = vs_cuda_begin(self, "error_sums");
    if (!t || x.rows == 0 || x.cols == 0) return;
    const tiling l = tiling_of(x, images);
    const vs_slice slice = vs_cuda_slice(t, images * sizeof(error_part));
    error_part *parts = static_cast<error_part *>(vs_cuda_scratch(t, images * l.tiles * sizeof *parts));
    if (!slice.device || !parts) return;
    if (vs_aligned(x) && vs_aligned(y))
        error_tile<true><<<grid_of(l), tile_block(), 0, t->stream>>>(x, y, l, parts);
    else
        error_tile<false><<<grid_of(l), tile_block(), 0, t->stream>>>(x, y, l, parts);
    join_error<<<vs_dim(images), FINISH, 0, t->stream>>>(parts, l.tiles, reinterpret_cast<error_part *>(slice.device));
    vs_cuda_end(t);
    for (size_t i = 0; i < images; i++) {
        vs_delivery d = {};
        d.deliver = deliver_error;
        d.to = out[i];
        vs_cuda_deliver_at(t, &slice, i * sizeof(error_part), d);
    }
}

/* ---- counts */

struct is_below {
    double threshold;
    __device__ bool operator()(float v) const { return static_cast<double>(fabsf(v)) < threshold; }
};
struct is_above {
    double threshold;
    __device__ bool operator()(float v) const { return static_cast<double>(fabsf(v)) > threshold; }
};

template <bool VEC, class Test> static __global__ void count_kernel(vs_mat x, Test test, unsigned long long *out) {
    const size_t step = static_cast<size_t>(blockDim.x) * gridDim.y, fours = (x.cols + 3) / 4;
    const size_t down = static_cast<size_t>(gridDim.x) * blockDim.y;
    unsigned long long count = 0;
    for (size_t r = static_cast<size_t>(blockIdx.x) * blockDim.y + threadIdx.y; r < x.rows; r += down)
        for (size_t q = static_cast<size_t>(blockIdx.y) * blockDim.x + threadIdx.x; q < fours; q += step) {
            const unsigned n = vs_left(x.cols, 4 * q);
            float v[4];
            load4<VEC>(vs_row(x, r) + 4 * q, n, v);
            for (unsigned i = 0; i < n; i++) count += test(v[i]);
        }
    count = block_sum(count);
    if (vs_thread_in_block() == 0 && count) atomicAdd(out, count);
}

static void deliver_count(const vs_delivery *d, const char *staged) {
    uint64_t count;
    memcpy(&count, staged, sizeof count);
    *static_cast<uint64_t *>(d->to) += count;
}

template <class Test> static void count_if(vs_cuda_thread *t, vs_mat x, Test test, uint64_t *out) {
    if (x.rows == 0 || x.cols == 0) return;
    const vs_slice slice = vs_cuda_slice(t, sizeof *out);
    if (!slice.device) return;
    const vs_layout l = vs_cover(x.rows, x.cols, 2048);
    unsigned long long *to = reinterpret_cast<unsigned long long *>(slice.device);
    if (vs_aligned(x))
        count_kernel<true><<<l.grid, l.block, 0, t->stream>>>(x, test, to);
    else
        count_kernel<false><<<l.grid, l.block, 0, t->stream>>>(x, test, to);
    vs_cuda_end(t);
    vs_delivery d = {};
    d.deliver = deliver_count;
    d.to = out;
    vs_cuda_deliver(t, &slice, d);
}

static void count_below(const vs_backend *self, vs_mat x, double threshold, uint64_t *below) {
    vs_cuda_thread *t = vs_cuda_begin(self, "count_below");
    if (t) count_if(t, x, is_below{ threshold }, below);
}

static void count_above(const vs_backend *self, vs_mat x, size_t col, double threshold, uint64_t *above) {
    vs_cuda_thread *t = vs_cuda_begin(self, "count_above");
    const vs_mat column = { vs_row(x, 0) + col, x.rows, 1, x.ld };
    if (t) count_if(t, column, is_above{ threshold }, above);
}

/* ---- equal bins over a range */

static constexpr size_t SHARED_BINS = 8192;

static __global__ void range_kernel(vs_mat x, double lo, double factor, size_t bins, bool shared, unsigned *out) {
    extern __shared__ unsigned window[]; /* [bins] where they fit */
    const unsigned threads = blockDim.x * blockDim.y;
    for (size_t i = vs_thread_in_block(); shared && i < bins; i += threads) window[i] = 0;
    __syncthreads();
    unsigned *counts = shared ? window : out;
    const double last = static_cast<double>(bins - 1);
    const size_t down = static_cast<size_t>(gridDim.x) * blockDim.y;
    for (size_t r = static_cast<size_t>(blockIdx.x) * blockDim.y + threadIdx.y; r < x.rows; r += down)
        for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) {
            const double v = static_cast<double>(vs_row(x, r)[c]);
            if (v == v) atomicAdd(&counts[static_cast<size_t>(fmin(fmax(floor((v - lo) * factor), 0.0), last))], 1u);
        }
    __syncthreads();
    for (size_t i = vs_thread_in_block(); shared && i < bins; i += threads)
        if (window[i]) atomicAdd(&out[i], window[i]);
}

static constexpr size_t HISTOGRAM_BLOCKS = 264; /* two for each of an H100's processors: few windows to add up */

static void deliver_bins(const vs_delivery *d, const char *staged) {
    uint64_t *to = static_cast<uint64_t *>(d->to);
    for (size_t i = 0; i < d->count; i++) {
        uint32_t n;
        memcpy(&n, staged + i * sizeof n, sizeof n);
        to[i] += n;
    }
}

/* A 32-bit bin holds what a slice of at most this many elements can put into it. */
static size_t rows_that_fit(vs_mat x) {
    const size_t rows = UINT32_MAX / x.cols;
    return rows ? rows : 1;
}

static vs_mat rows_from(vs_mat x, size_t first, size_t most) {
    return { vs_row(x, first), x.rows - first < most ? x.rows - first : most, x.cols, x.ld };
}

static void range_histogram(const vs_backend *self, vs_mat x, double lo, double hi, size_t bins, uint64_t *counts) {
    vs_cuda_thread *t = vs_cuda_begin(self, "range_histogram");
    if (!t || x.rows == 0 || x.cols == 0 || bins == 0) return;
    const bool shared = bins <= SHARED_BINS;
    for (size_t first = 0; first < x.rows; first += rows_that_fit(x)) {
        const vs_mat part = rows_from(x, first, rows_that_fit(x));
        const vs_slice slice = vs_cuda_slice(t, bins * sizeof(uint32_t));
        if (!slice.device) return;
        const vs_layout l = vs_cover(part.rows, part.cols, HISTOGRAM_BLOCKS);
        range_kernel<<<l.grid.x, l.block, shared ? bins * sizeof(uint32_t) : 0, t->stream>>>(
            part, lo, static_cast<double>(bins) / (hi - lo), bins, shared, reinterpret_cast<unsigned *>(slice.device));
        vs_cuda_end(t);
        vs_delivery d = {};
        d.deliver = deliver_bins;
        d.count = bins;
        d.to = counts;
        vs_cuda_deliver(t, &slice, d);
    }
}

void vs_cuda_fill_statistics(vs_backend_ops *o) {
    o->channel_minmax = channel_minmax;
    o->range_histogram = range_histogram;
    o->row_absmax = row_absmax;
    o->error_sums = error_sums;
    o->abs_stats = abs_stats;
    o->count_below = count_below;
    o->count_above = count_above;
    o->channel_energy = channel_energy;
}
