import Foundation
import Testing

@testable import Topology

@Suite struct InputFileTests {
    private func path(_ name: String) -> String {
        FileManager.default.temporaryDirectory.appending(path: "\(name)-\(UUID().uuidString)")
            .path(percentEncoded: false)
    }

    @Test func `a pipe that nobody writes to is given up when its time is over`() throws {
        let pipe = path("pipe")
        let maker = try Process.run(URL(filePath: "/usr/bin/mkfifo"), arguments: [pipe])
        maker.waitUntilExit()
        defer { try? FileManager.default.removeItem(atPath: pipe) }
        let error = #expect(throws: InputError.self) {
            try InputFile.text(of: pipe, within: .milliseconds(200))
        }
        #expect(error?.description == "it gave no end of file within 0.2 seconds")
    }

    @Test(arguments: ["/dev/zero", "/dev/urandom"])
    func `a device that never ends is read up to the limit`(device: String) {
        let error = #expect(throws: InputError.self) { try InputFile.text(of: device) }
        #expect(
            error?.description
                == "it has more than \(InputFile.largestBytes) bytes, the limit of such a file")
    }

    @Test func `a file of exactly the limit is read, and one of a byte more is not`() throws {
        let file = path("limit")
        defer { try? FileManager.default.removeItem(atPath: file) }
        for more in [0, 1] {
            let text = String(repeating: "#", count: InputFile.largestBytes + more)
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            if more == 0 {
                #expect(try InputFile.text(of: file).utf8.count == InputFile.largestBytes)
            } else {
                #expect(throws: InputError.self) { try InputFile.text(of: file) }
            }
        }
    }

    @Test func `a folder and a missing file are told apart`() {
        let folder = #expect(throws: InputError.self) { try InputFile.text(of: "/") }
        let missing = #expect(throws: InputError.self) { try InputFile.text(of: path("no")) }
        #expect(missing?.description == "there is no such file")
        #expect(folder != missing)
    }

    @Test func `a topology of billions of nodes is refused before they are made`() {
        var lines = ["name: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        for level in 1 ... 9 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            lines.append("b\(level): &a\(level) [\(aliases)]")
        }
        let error = #expect(throws: TopologyError.self) {
            try NodeMap(yaml: lines.joined(separator: "\n"), path: "bomb.yaml")
        }
        #expect("\(error!)".contains("stands for more than 100000 values"))
    }
}
