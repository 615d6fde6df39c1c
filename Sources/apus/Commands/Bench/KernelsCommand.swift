import ArgumentParser
import Benchmarks
import Foundation
import Tensors
import Topology

/// Matrix products of every weight format against what memory and the cores allow.
struct KernelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Measures matrix products against the machine's read bandwidth and peak rate.",
        discussion: """
            Examples:
              apus bench kernels --threads 2
              apus bench kernels --outputs 1024 --inputs 512 --rows 1,8 --json
              APUS_CPU=avx2 apus bench kernels

            Weights come from memory: 256 MiB of them are walked through before one comes again.
            Float32 weights are measured against the peak rate of Float32. int4 and mxfp4 have a
            scale per 32 inputs and are left out where 32 does not divide --inputs.

            First it prints which level's loops each kind of product takes, and the times behind
            that, of one thread on data in the cache. APUS_CPU takes one level for all.
            """)

    @Option(name: .shortAndLong, help: "Threads (default: all cores that the process may use).")
    var threads = ThreadPool.threads(on: CoreLimit.ofProcess.cores)

    @Option(help: "Outputs of the weight.")
    var outputs = 4096

    @Option(help: "Inputs of the weight.")
    var inputs = 2048

    @Option(help: "Rows of the input, comma-separated.")
    var rows = "1,2,4,8,16,32,64,128,512"

    @Option(help: "float32 or bfloat16: how inputs are treated.")
    var compute = "bfloat16"

    @Flag(help: "Print one JSON object.")
    var json = false

    private var rowCounts: [Int] { rows.split(separator: ",").compactMap { Int($0) } }

    func validate() throws {
        guard (1 ... 256).contains(threads) else {
            throw ValidationError("--threads \(threads) is outside 1...256")
        }
        for (name, value) in [("--outputs", outputs), ("--inputs", inputs)] {
            guard (1 ... 65536).contains(value) else {
                throw ValidationError("\(name) \(value) is outside 1...65536")
            }
        }
        let given = rows.split(separator: ",", omittingEmptySubsequences: false).count
        guard rowCounts.count == given, rowCounts.allSatisfy((1 ... 65536).contains) else {
            throw ValidationError("--rows \(rows) holds a count outside 1...65536")
        }
        guard Compute(rawValue: compute) != nil else {
            throw ValidationError("--compute \(compute) is neither float32 nor bfloat16")
        }
    }

    func run() throws {
        try reporting {
            let choice = try ComputeNotes.say(threads: threads)
            let pool = ThreadPool(threads: threads)
            let compute = Compute(rawValue: compute) ?? .bfloat16
            let peak = Limits.peakFMA(compute: compute, pool: pool)
            let widePeak = Limits.peakFMA(compute: .float32, pool: pool)
            var report = KernelReport(
                level: Processor.inUse.rawValue, choice: KernelChoiceReport(choice),
                threads: threads,
                readBytesPerSecond: Limits.readBandwidth(pool: pool),
                peakOperationsPerSecond: peak)
            let benchmark = KernelBenchmark(outputs: outputs, inputs: inputs, compute: compute)
            for format in NumberFormat.packed where inputs % format.inputMultiple == 0 {
                report.figures += try benchmark.figures(
                    format: format, rows: rowCounts, readBandwidth: report.readBytesPerSecond,
                    peak: format == .float32 ? widePeak : peak, pool: pool)
            }
            print(try json ? report.json() : report.text())
        }
    }
}

/// The limits of the machine and, beside them, what the products reached.
struct KernelReport: Codable {
    let level: String
    let choice: KernelChoiceReport
    let threads: Int
    let readBytesPerSecond: Double
    let peakOperationsPerSecond: Double
    var figures: [KernelBenchmark.Figure] = []

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    func text() -> String {
        let limits = String(
            format: "%@, %d threads: reads %.1f GB/s, computes %.0f GFLOP/s",
            level, threads, readBytesPerSecond / 1e9, peakOperationsPerSecond / 1e9)
        let rows = figures.map { figure in
            let name = figure.format + String(repeating: " ", count: 12 - figure.format.count)
            return name
                + String(
                    format: "%6d %10.1f %8.1f %5.0f%% %9.1f %5.0f%%", figure.rows,
                    figure.microseconds, figure.bytesPerSecond / 1e9,
                    figure.bandwidthFraction * 100, figure.operationsPerSecond / 1e9,
                    figure.peakFraction * 100)
        }
        let head = "weights       rows         us     GB/s  read   GFLOP/s   peak"
        return (choice.lines + [limits, head] + rows).joined(separator: "\n")
    }
}
