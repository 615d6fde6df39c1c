import Foundation
import Testing

@testable import Tensors

extension TensorsTests {
    @Suite struct KernelChoiceTests {
        /// Times in microseconds, of a weight that one core reads in 1 us at most.
        private static func time(
            _ kind: ProductKind, _ level: Processor, _ one: Double, _ many: Double
        ) -> KernelChoice.Time {
            KernelChoice.Time(
                kind: kind, level: level, bytes: 43_000, oneRowSeconds: one * 1e-6,
                manyRowsSeconds: many * 1e-6)
        }

        private static func chosen(
            _ times: [KernelChoice.Time], _ kind: ProductKind
        ) -> Processor? {
            KernelChoice(times: times, otherwise: .avx512bf16, origin: .only).levels[kind]
        }

        @Test func `a level with other bits is taken where it is a quarter faster`() {
            let kind = ProductKind.bfloat16
            let own = Self.time(kind, .avx512bf16, 4, 100)
            #expect(Self.chosen([Self.time(kind, .avx512, 4, 70), own], kind) == .avx512bf16)
            #expect(Self.chosen([Self.time(kind, .avx512, 4, 60), own], kind) == .avx512)
            // Slow with one row: both count.
            #expect(Self.chosen([Self.time(kind, .avx512, 8, 60), own], kind) == .avx512bf16)
        }

        @Test func `a level with the same bits is taken where it is a tenth faster`() {
            let kind = ProductKind.int4
            let own = Self.time(kind, .avx512bf16, 4, 100)
            #expect(Self.chosen([Self.time(kind, .avx2, 4, 90), own], kind) == .avx512bf16)
            #expect(Self.chosen([Self.time(kind, .avx2, 3.3, 95), own], kind) == .avx2)
        }

        @Test func `one row faster than memory counts as memory`() {
            let kind = ProductKind.float8e4m3
            let own = Self.time(kind, .avx512bf16, 0.2, 100)
            // Five times as long, and both wait for memory.
            #expect(Self.chosen([Self.time(kind, .avx512, 1, 60), own], kind) == .avx512)
        }

        @Test func `a kind that was not measured keeps the level of the CPU`() {
            #expect(Self.chosen([], .mxfp4) == .avx512bf16)
            // AVX512-BF16 has AVX512-VNNI's loops for int8.
            let times = [Self.time(.int8, .avx2, 9, 90), Self.time(.int8, .avx512vnni, 1, 10)]
            #expect(Self.chosen(times, .int8) == .avx512vnni)
        }

        @Test func `ranks that agree on an arithmetic take their fastest level that has it`() {
            let kind = ProductKind.bfloat16
            var choice = KernelChoice(
                times: [
                    Self.time(kind, .avx2, 4, 200), Self.time(kind, .avx512, 4, 110),
                    Self.time(kind, .avx512bf16, 4, 50),
                ], otherwise: .avx512bf16, origin: .only)
            #expect(choice.arithmetics["bfloat16"] == ["pairs", "fused"])
            #expect(choice.agree(on: ["bfloat16": "fused"]).isEmpty)
            #expect(choice.levels[kind] == .avx512)
            #expect(choice.levels[.int4] == .avx512bf16)
            #expect(choice.agree(on: ["bfloat16": "tiles", "int8": "integers"]) == [kind])
            #expect(choice.levels[kind] == .avx512)
        }

        @Test func `a level that APUS_CPU names is that of all kinds`() throws {
            let choice = KernelChoice.make(["APUS_CPU": "avx2", "HOME": "/nowhere"])
            #expect(choice.origin == .pinned)
            #expect(Set(choice.levels.values) == [Processor.inUse])
            #expect(choice.arithmetics["int8"] == ["integers"])
        }

        @Test func `a measurement has a time of every candidate, and is remembered`() throws {
            let folder = FileManager.default.temporaryDirectory
                .appending(path: "kernels-\(UUID().uuidString)").path(percentEncoded: false)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            defer { Processor.best.use() }
            let first = KernelChoice.make(["XDG_CACHE_HOME": folder + "/made/anew"])
            let available = Processor.allCases.filter(\.isAvailable)
            guard available.count > 1 else { return }
            #expect(first.origin == .measured(unsaved: nil))
            for kind in ProductKind.allCases where kind.candidates(available).count > 1 {
                let levels = first.times.filter { $0.kind == kind }.map(\.level)
                #expect(levels == kind.candidates(available))
                #expect(Processor.inUse(for: kind) == first.levels[kind])
            }
            let second = KernelChoice.make(["XDG_CACHE_HOME": folder + "/made/anew"])
            #expect(second.times == first.times)
            #expect(second.levels == first.levels)
            guard case .remembered = second.origin else {
                Issue.record("\(second.origin)")
                return
            }
        }

        @Test func `where nothing can be remembered, the choice says why`() throws {
            defer { Processor.best.use() }
            guard Processor.allCases.filter(\.isAvailable).count > 1 else { return }
            let choice = KernelChoice.make(["XDG_CACHE_HOME": "/proc/none"])
            guard case .measured(let reason) = choice.origin else {
                Issue.record("\(choice.origin)")
                return
            }
            #expect(try #require(reason).contains("/proc/none/apus"))
            #expect(KernelChoice.folder(["HOME": "relative"]) == nil)
            #expect(KernelChoice.folder(["HOME": "/home/a"]) == "/home/a/.cache/apus")
        }

        @Test func `times of another CPU or build, and a torn file, count as absent`() throws {
            let key = KernelChoice.Key(cpu: "A 25 1", build: "apus 100 7")
            let path = FileManager.default.temporaryDirectory
                .appending(path: "kernels-\(UUID().uuidString).txt").path(percentEncoded: false)
            defer { try? FileManager.default.removeItem(atPath: path) }
            let times = [Self.time(.int4, .avx2, 1.5, 20), Self.time(.int4, .avx512, 3, 0.1)]
            #expect(KernelChoice.remember(times, key, at: path) == nil)
            #expect(KernelChoice.remembered(at: path, key) == times)
            let others = [
                KernelChoice.Key(cpu: "A 25 2", build: key.build),
                KernelChoice.Key(cpu: key.cpu, build: "apus 100 8"),
            ]
            for other in others { #expect(KernelChoice.remembered(at: path, other) == nil) }
            let whole = Array(try #require(KernelChoice.text(at: path)).utf8)
            for count in whole.indices {
                try Data(whole[..<count]).write(to: URL(filePath: path))
                #expect(KernelChoice.remembered(at: path, key) == nil, "\(count) bytes")
            }
            let text = String(decoding: whole, as: UTF8.self)
            for (good, bad) in [("avx2", "avx3"), ("int4", "int3"), ("43000", "-1")] {
                try Data(text.replacing(good, with: bad).utf8).write(to: URL(filePath: path))
                #expect(KernelChoice.remembered(at: path, key) == nil, "\(bad)")
            }
        }

        @Test func `a CPU is its model, not its clock`() {
            let facts = """
                processor\t: 0
                vendor_id\t: AuthenticAMD
                cpu family\t: 25
                model\t\t: 1
                model name\t: AMD EPYC 7B13
                stepping\t: 0
                cpu MHz\t\t: 2450.000
                processor\t: 1
                model\t\t: 2
                """
            let model = KernelChoice.Key.model(facts)
            #expect(model == "AuthenticAMD 25 1 0 AMD EPYC 7B13")
            #expect(KernelChoice.Key.model(facts.replacing("2450", with: "3000")) == model)
            #expect(KernelChoice.Key.model("").isEmpty)
        }
    }
}
