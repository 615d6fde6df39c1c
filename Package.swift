// swift-tools-version: 6.2
import PackageDescription

// The manifest is the map. Targets are listed from the ground up, and each may import only what
// its line names: everything a room can see is written here. SwiftPM enforces the lines with
// `--explicit-target-dependency-import-check error`, which `make build` passes.

let package = Package(
    name: "apus",
    products: [
        .executable(name: "apus", targets: ["apus"]),
        .executable(name: "apus-coordinator", targets: ["apus-coordinator"]),
        .executable(name: "apus-worker", targets: ["apus-worker"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        // Without its traits Hummingbird needs neither swift-configuration nor all of Foundation.
        .package(
            url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // C, hidden behind one Swift room each.
        .target(
            name: "CFabric", exclude: ["README.md"], cSettings: plainC(),
            linkerSettings: ["ucp", "ucs", "ibverbs", "rdmacm"].map { .linkedLibrary($0) }),
        .target(
            name: "CCrypto", exclude: ["README.md"], cSettings: plainC(),
            linkerSettings: [.linkedLibrary("crypto")]),
        .target(
            name: "CTLS", exclude: ["README.md"], cSettings: plainC(),
            linkerSettings: ["ssl", "crypto"].map { .linkedLibrary($0) }),
        .target(
            name: "CKernels", exclude: ["README.md"],
            cSettings: plainC() + [.headerSearchPath(".")]),

        // Ground: values as bytes, where things are, what bytes mean, how bytes move.
        room("Encoding", ["CCrypto"]),
        room("Topology", ["Encoding", yams]),
        room("Tensors", ["CKernels"]),
        room("Transport", ["CFabric", "Encoding", "Topology"]),

        // Many ranks acting as one; text and token ids; files of weights.
        room("Collectives", ["Transport", "Tensors", "Topology"]),
        room("Language", ["Encoding"]),
        room("Checkpoints", ["Tensors", "Encoding"]),

        // The networks; the order of their work; text that cannot leave a grammar.
        room(
            "Models",
            ["Collectives", "Language", "Checkpoints", "Tensors", "Encoding", "Topology"]),
        room("Pipeline", ["Collectives", "Transport", "Tensors", "Topology"]),
        room("Grammar", ["Encoding"]),

        // What a cluster would bring, computed before it is bought.
        room("Planner", ["Pipeline", "Encoding", "Topology"]),

        // Top: what people ask for.
        room(
            "Training",
            [
                "Models", "Pipeline", "Collectives", "Language", "Checkpoints", "Transport",
                "Tensors", "Encoding", "Topology", yams,
            ]),
        room(
            "Serving",
            [
                "CTLS", "Models", "Grammar", "Collectives", "Language", "Checkpoints",
                "Transport", "Tensors", "Encoding", "Topology", hummingbird, hummingbirdCore, nio,
                nioEmbedded, nioHTTP1, nioHTTPTypes, nioHTTPTypesHTTP1, nioCompression, httpTypes,
                lifecycle, signals, log, yams,
            ],
            resources: page),
        room("Cluster", ["CCrypto", "Encoding", "Topology", log, yams, nio, nioPosix, nioExtras]),

        // Whatever measures; nothing of the product imports it.
        room(
            "Benchmarks",
            [
                "Serving", "Planner", "Pipeline", "Models", "Collectives", "Language",
                "Checkpoints", "Transport", "Tensors", "Encoding", "Topology", nio, nioPosix,
                nioHTTP1,
            ]),

        // Programs: parse, wire, run.
        program(
            "apus-coordinator",
            ["Cluster", "Serving", "Checkpoints", "Topology", log, arguments, lifecycle]),
        program(
            "apus-worker",
            [
                "Cluster", "Training", "Serving", "Checkpoints", "Transport", "Tensors", "Encoding",
                "Topology", log, arguments,
            ]),
        program(
            "apus",
            [
                "Benchmarks", "Cluster", "Serving", "Training", "Planner", "Pipeline", "Models",
                "Collectives", "Language", "Checkpoints", "Transport", "Tensors", "Encoding",
                "Topology", log, arguments,
            ],
            resources: [.embedInCode("Comparison/all_to_all.c")]),

        // Tests mirror the rooms.
        .target(
            name: "TestSupport",
            dependencies: [
                "TransportTesting", "Models", "Grammar", "Checkpoints", "Transport", "Tensors",
                "Encoding", "Topology",
            ],
            path: "Tests/TestSupport", swiftSettings: strict()),
        tests("Topology", ["Encoding"]),
        tests("Encoding"),
        tests("Tensors", ["CKernels", "TileModel"]),
        .target(
            name: "TileModel", path: "Tests/TileModel",
            cSettings: plainC() + [
                .headerSearchPath("../../Sources/CKernels"),
                .headerSearchPath("../../Sources/CKernels/include"),
            ]),
        .target(
            name: "TransportTesting", dependencies: ["Transport"], path: "Tests/TransportTesting",
            swiftSettings: strict()),
        tests("Transport", ["TransportTesting", "Topology"]),
        tests(
            "Collectives",
            [
                "TransportTesting", "TestSupport", "Benchmarks", "Transport", "Tensors", "Encoding",
                "Topology",
            ]),
        tests("Language", ["TestSupport"]),
        tests("Checkpoints", ["Tensors", "Encoding"]),
        tests(
            "Models",
            [
                "TestSupport", "Collectives", "Language", "Checkpoints", "Transport", "Tensors",
                "Encoding",
                "Topology",
            ]),
        tests("Pipeline", ["Collectives", "Transport", "Tensors", "Topology"]),
        tests("Grammar", ["TestSupport", "Language", "Encoding"]),
        tests("Planner", ["Pipeline", "Topology"]),
        tests(
            "Training",
            [
                "Models", "Pipeline", "Collectives", "Language", "Checkpoints", "Transport",
                "Tensors",
                "Encoding", "Topology",
            ]),
        tests(
            "Serving",
            [
                "TestSupport", "Benchmarks", "Models", "Grammar", "Language", "Collectives",
                "Checkpoints", "Transport", "Tensors", "Encoding", "Topology", nio, nioPosix,
                nioHTTP1, httpTypes,
                hummingbirdCore, lifecycle, log,
            ]),
        tests("Cluster", ["Encoding", "Topology", log, nio, nioEmbedded, nioPosix, yams]),
        tests(
            "Benchmarks",
            [
                "TestSupport", "Serving", "Planner", "Models", "Collectives", "Transport",
                "Tensors", "Topology",
            ]),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Benchmarks", "Serving", "Pipeline", "Collectives", "Tensors", "Encoding",
                "Topology",
            ],
            path: "Tests/Simulation", swiftSettings: strict()),
        // Harnesses, which Tests/Fuzz/run builds with libFuzzer; without it they change seeds.
        .target(name: "CFuzzDriver", path: "Tests/Fuzz/CFuzzDriver", cSettings: plainC()),
        .target(
            name: "FuzzSupport", dependencies: ["CFuzzDriver"], path: "Tests/Fuzz/FuzzSupport",
            swiftSettings: strict()),
        fuzzer("Header", ["FuzzSupport", "Checkpoints"]),
        fuzzer("Configuration", ["FuzzSupport", "Models"]),
        fuzzer("Tokenizer", ["FuzzSupport", "Language"]),
        fuzzer("Control", ["FuzzSupport", "Cluster", "Topology"]),
        fuzzer("Transport", ["FuzzSupport", "Transport", "Topology"]),
        fuzzer("Schema", ["TestSupport", "Grammar", "Encoding"]),
        .testTarget(
            name: "EndToEnd", dependencies: ["Topology"], exclude: ["Clients"],
            swiftSettings: strict()),
        .testTarget(name: "TidyTests", dependencies: [yams], swiftSettings: strict()),
        .testTarget(name: "DocumentTests", swiftSettings: strict()),
    ],
    cLanguageStandard: .c17
)

// Libraries from outside, named once.
var arguments: Target.Dependency { library("ArgumentParser", of: "swift-argument-parser") }
var log: Target.Dependency { library("Logging", of: "swift-log") }
var nio: Target.Dependency { library("NIOCore", of: "swift-nio") }
var nioPosix: Target.Dependency { library("NIOPosix", of: "swift-nio") }
var nioEmbedded: Target.Dependency { library("NIOEmbedded", of: "swift-nio") }
var nioExtras: Target.Dependency { library("NIOExtras", of: "swift-nio-extras") }
var nioHTTPTypes: Target.Dependency { library("NIOHTTPTypes", of: "swift-nio-extras") }
var nioHTTPTypesHTTP1: Target.Dependency {
    library("NIOHTTPTypesHTTP1", of: "swift-nio-extras")
}
var nioCompression: Target.Dependency { library("NIOHTTPCompression", of: "swift-nio-extras") }
var hummingbird: Target.Dependency { library("Hummingbird", of: "hummingbird") }
var hummingbirdCore: Target.Dependency { library("HummingbirdCore", of: "hummingbird") }
var httpTypes: Target.Dependency { library("HTTPTypes", of: "swift-http-types") }
var nioHTTP1: Target.Dependency { library("NIOHTTP1", of: "swift-nio") }
var lifecycle: Target.Dependency { library("ServiceLifecycle", of: "swift-service-lifecycle") }
var signals: Target.Dependency { library("UnixSignals", of: "swift-service-lifecycle") }
var yams: Target.Dependency { library("Yams", of: "Yams") }

func library(_ name: String, of package: String) -> Target.Dependency {
    .product(name: name, package: package)
}

/// The page that the HTTP server shows in a browser: files that become a part of the program.
var page: [Resource] {
    let scripts = [
        "chat", "doctor", "draw", "experts", "metrics", "server", "traffic", "views",
    ].map { "page-\($0).js" }
    return (["index.html", "page.css", "page.js"] + scripts).map { .embedInCode("Page/" + $0) }
}

/// Every Swift target is held to the same bar; but harnesses hand raw memory to what they test.
func strict(memory: Bool = true) -> [SwiftSetting] {
    (memory ? [.strictMemorySafety()] : []) + [
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableExperimentalFeature("Lifetimes"),
    ]
}

/// Tests reach what a room keeps to itself. Said here and not for the whole build, so that what the
/// libraries from outside keep to themselves can still be optimised away.
func testable() -> [SwiftSetting] { [.unsafeFlags(["-enable-testing"])] }

/// C is compiled without contraction, so that a formula gives the same bits in every file.
func plainC() -> [CSetting] {
    [.treatAllWarnings(as: .error), .unsafeFlags(["-O3", "-Wall", "-ffp-contract=off"])]
}

/// A library target, whose README says in one page what it owns and why.
func room(
    _ name: String, _ imports: [Target.Dependency] = [], resources: [Resource]? = nil
) -> Target {
    .target(
        name: name, dependencies: imports, exclude: ["README.md"], resources: resources,
        swiftSettings: strict() + testable())
}

/// A program, which parses, wires and runs. What computes stands in the rooms, so programs are not
/// optimised: they compile three times as fast.
func program(
    _ name: String, _ imports: [Target.Dependency], resources: [Resource]? = nil
) -> Target {
    .executableTarget(
        name: name, dependencies: imports, resources: resources,
        swiftSettings: strict() + [.unsafeFlags(["-Onone"])])
}

func tests(_ room: String, _ imports: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: room + "Tests", dependencies: [.byName(name: room)] + imports,
        swiftSettings: strict())
}

/// A program that no product names: it feeds one reader of bytes.
func fuzzer(_ name: String, _ imports: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name + "Fuzz", dependencies: imports, path: "Tests/Fuzz/" + name,
        swiftSettings: strict(memory: false))
}
