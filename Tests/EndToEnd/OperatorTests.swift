import Foundation
import Glibc
import Testing

/// What somebody who runs a job meets: signals, input that hangs, a control port that others find.
@Suite(.serialized) struct OperatorTests {
    @Test func `a closed terminal ends a job in order`() throws {
        // Tests may run where SIGHUP is ignored, and a program inherits that.
        let job = try RunningJob(
            ranks: 1, transport: "auto", shell: #"exec env --default-signal=HUP "$0" "$@""#)
        _ = try job.waitUntilServing()
        job.signal(SIGHUP)
        #expect(job.wait(seconds: 20) == 0)
        job.expectNothingLeft()
    }

    @Test func `under nohup a closed terminal ends nothing`() async throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", shell: #"exec nohup "$0" "$@""#)
        let client = Client(try job.waitUntilServing())
        job.signal(SIGHUP)
        #expect(job.wait(seconds: 1) == nil)
        let answer = try await client.ask(ServingJobTests.prompt, tokens: 5)
        #expect(answer.status == 200)
        job.signal(SIGTERM)
        #expect(job.wait(seconds: 20) == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a second Ctrl-C ends a job at once, and its streams with an error`() async throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", more: "deadlines: {drainSeconds: 600}")
        let client = Client(try job.waitUntilServing())
        let stream = Task {
            try await client.ask(
                ServingJobTests.prompt, tokens: 1900, more: ["stream": true, "ignore_eos": true])
        }
        try await client.waitUntilBegun(1)
        job.signal(SIGINT)
        // Two signals that come before one is taken are one.
        try await Wait.until("the job drains") { try await client.health().contains("draining") }
        #expect(job.wait(seconds: 0.3) == nil, "the first one waits for the stream")
        job.signal(SIGINT)
        #expect(job.wait(seconds: 20) == 0, "\(job.errors)")
        job.expectNothingLeft()
        let end = try await stream.value.body.suffix(400)
        #expect(end.contains(#""error""#) && end.contains("asked to end twice"), "\(end)")
        #expect(!end.contains("[DONE]"))
    }

    /// Programs that read a file of a person: none may be held up where Ctrl-C does nothing.
    @Test(arguments: [
        ["apus", "launch"], ["apus", "lab", "run"], ["apus", "train"],
        ["apus-coordinator", "--job"], ["apus-worker", "--rank", "0", "--job"],
    ])
    func `Ctrl-C ends a program while its input hangs`(words: [String]) throws {
        let folder = try CommandTests.Folder()
        let pipe = folder.path + "/pipe.yaml"
        let maker = try Process.run(URL(filePath: "/usr/bin/mkfifo"), arguments: [pipe])
        maker.waitUntilExit()
        let process = Program()
        // Tests may run where SIGINT is ignored, and a program inherits that.
        process.executableURL = URL(filePath: "/usr/bin/env")
        let program = RunningJob.programs.appending(path: words[0]).path(percentEncoded: false)
        process.arguments =
            ["--default-signal=INT", program] + words.dropFirst() + [pipe]
            + (words.contains("lab") ? ["--", "true"] : [])
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        // Opening a pipe to write waits for its reader: the line comes once the program reads, and
        // what it reads never ends.
        let (writer, lines) = (Process(), Pipe())
        writer.executableURL = URL(filePath: "/usr/bin/env")
        writer.arguments = ["timeout", "60", "sh", "-c", "exec 3>\"$0\"; echo; read end", pipe]
        writer.standardInput = Pipe()
        writer.standardOutput = lines
        try writer.run()
        try lines.fileHandleForWriting.close()
        defer { writer.terminate() }
        try process.run()
        try #require(!lines.fileHandleForReading.availableData.isEmpty, "nobody reads the file")
        #expect(process.isRunning)
        process.interrupt()
        #expect(process.exitStatus(within: 5) == 128 + SIGINT)
    }

    @Test func `a file whose aliases never end is given up, whatever they stand for`() throws {
        let folder = try CommandTests.Folder()
        let bomb = folder.path + "/bomb.yaml"
        // The key of a mapping is compared with the others: Yams follows its aliases by itself.
        var lines = ["- &a0 [x, x]"]
        for level in 1 ... 40 { lines.append("- &a\(level) [*a\(level - 1), *a\(level - 1)]") }
        try (lines.joined(separator: "\n") + "\n- {? *a40 : 1, ? *a39 : 2}\n").write(
            toFile: bomb, atomically: true, encoding: .utf8)
        let (status, output) = try RunningJob.run("apus", ["launch", bomb])
        #expect(status == 2)
        #expect(output.contains("its YAML was not read within 10"), "\(output)")
    }

    @Test(arguments: [["drain", "http://192.0.2.1:1"], ["stop", "--url", "http://192.0.2.1:1"]])
    func `an admin's key crosses no network in clear without a word`(words: [String]) throws {
        let (status, output) = try RunningJob.run("apus", words)
        #expect(status == 2)
        #expect(output.contains("http://192.0.2.1:1 is plain HTTP"), "\(output)")
        #expect(output.contains("--plain"), "\(output)")
    }

    @Test func `a trace that cannot be written is refused before it is taken`() throws {
        let folder = try CommandTests.Folder()
        for name in [folder.path, folder.path + "/none/trace.json"] {
            let (status, output) = try RunningJob.run("apus", ["trace", "nobody", "-o", name])
            #expect(status == 2 && output.contains(name), "\(output)")
            #expect(!output.contains("nobody"), "\(output)")
        }
    }

    @Test func `a trace goes to a pipe that somebody reads, and waits for no reader`() throws {
        let folder = try CommandTests.Folder()
        let pipe = folder.path + "/pipe"
        let maker = try Process.run(URL(filePath: "/usr/bin/mkfifo"), arguments: [pipe])
        maker.waitUntilExit()
        let link = folder.path + "/link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: pipe)
        for name in [pipe, link] {
            let (status, output) = try RunningJob.run("apus", ["trace", "absent", "-o", name])
            #expect(status == 2 && output.contains("\(name) cannot be written: nobody reads it"))
        }
        // The output of the command is a pipe here: the job is what is missing.
        for name in ["/dev/stdout", "/dev/fd/1", "/dev/null"] {
            let (status, output) = try RunningJob.run("apus", ["trace", "absent", "-o", name])
            #expect(status == 2 && output.contains("absent"), "\(output)")
            #expect(!output.contains("written"), "\(output)")
        }
    }

    @Test func `a trace is refused where no file can be, and a link leads nowhere`() throws {
        let folder = try CommandTests.Folder()
        let (link, locked) = (folder.path + "/link", folder.path + "/locked")
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: folder.path + "/none")
        try FileManager.default.createDirectory(
            atPath: locked, withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o500])
        // Root may write anywhere.
        for name in [link] + (getuid() == 0 ? [] : [locked + "/trace.json"]) {
            let (status, output) = try RunningJob.run("apus", ["trace", "absent", "-o", name])
            #expect(status == 2 && output.contains("\(name) cannot be written"), "\(output)")
        }
    }

    @Test(arguments: [
        ["drain", "http://127.0.0.1:1"],
        ["trace", "--seconds", "1", "--url", "http://127.0.0.1:1", "-o", "/dev/null"],
    ])
    func `an admin's key is told to no proxy that the environment names`(words: [String]) throws {
        let proxy = Process()
        let pipe = Pipe()
        proxy.executableURL = URL(filePath: "/usr/bin/env")
        proxy.arguments = [
            "python3", "-uc",
            """
            import os, socket, sys, threading
            threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()
            with socket.create_server(("127.0.0.1", 0)) as server:
                print(server.getsockname()[1])
                while True:
                    with server.accept()[0] as client: print(client.recv(1000))
            """,
        ]
        // It ends with its input, whatever starts it here as python3.
        let input = Pipe()
        proxy.standardInput = input
        proxy.standardOutput = pipe
        try proxy.run()
        // Its number and the line's end may come one after the other.
        var line = Data()
        while line.last != UInt8(ascii: "\n") {
            let more = pipe.fileHandleForReading.availableData
            try #require(!more.isEmpty, "the proxy ended")
            line += more
        }
        let number = String(decoding: line.dropLast(), as: UTF8.self)
        let url = "http://127.0.0.1:\(number)"
        let variables = ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"]
        var environment = ProcessInfo.processInfo.environment
        for name in variables { environment[name] = url }
        for name in ["no_proxy", "NO_PROXY"] { environment[name] = nil }
        environment["APUS_ADMIN_KEY"] = "the-secret-of-the-operator"
        // Nobody listens there.
        let (status, output) = try RunningJob.run("apus", words, environment)
        #expect(status == 2 && output.contains("cannot be asked"), "\(output)")
        try input.fileHandleForWriting.close()
        let heard = pipe.fileHandleForReading.readDataToEndOfFile()
        proxy.waitUntilExit()
        #expect(heard.isEmpty, "\(String(decoding: heard, as: UTF8.self))")
    }

    @Test func `a cache that no machine holds is refused with its bytes`() throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", more: "limits: {cacheTokens: 4294967296}")
        #expect(job.wait(seconds: 20) == 2)
        #expect(
            job.errors.contains("cacheTokens is 4294967296: at ")
                && job.errors.contains(" bytes, and this machine has "), "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a context beyond the model's is refused with both numbers`() throws {
        let job = try RunningJob(
            ranks: 1, transport: "auto", more: "limits: {cacheTokens: 8192, contextTokens: 99999}")
        #expect(job.wait(seconds: 20) == 2)
        #expect(
            job.errors.contains("contextTokens is 99999: the model has 2048 positions"),
            "\(job.errors)")
    }

    @Test(arguments: ["tokenizer.json", "tokenizer_config.json"])
    func `a model that cannot write texts is refused before its weights are read`(
        name: String
    ) throws {
        let folder = try CommandTests.Folder()
        let copy = folder.path + "/model"
        try FileManager.default.copyItem(atPath: RunningJob.model, toPath: copy)
        try Data("{".utf8).write(to: URL(filePath: copy + "/" + name))
        let job = try RunningJob(ranks: 2, transport: "auto", model: copy)
        #expect(job.wait(seconds: 20) == 2)
        #expect(job.errors.contains(name), "\(job.errors)")
        #expect(!job.logs().contains("phase load"))
        job.expectNothingLeft()
    }

    private static func curl(_ url: String) throws -> String {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["curl", "--silent", "--globoff", "--max-time", "20", url]
        process.standardOutput = pipe
        try process.run()
        let bytes = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func `a job on IPv6 addresses serves, and its URL has brackets`() async throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", httpAddress: "::1", more: "control: {address: \"::1\"}")
        let address = try job.waitUntilServing()
        #expect(job.output.contains("serving on http://[::1]:\(address.port)/v1"))
        // URLSession takes no numeric IPv6 address.
        #expect(try Self.curl("http://[::1]:\(address.port)/v1/models").contains("max_model_len"))
        let (status, output) = try job.apus(["status"])
        #expect(status == 0)
        #expect(output.contains("http://[::1]:\(address.port)/v1"), "\(output)")
        #expect(job.stop() == 0)
        job.expectNothingLeft()
    }

    @Test func `a name stands for an address wherever one does`() async throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", httpAddress: "localhost",
            more: "control: {address: localhost}")
        let address = try job.waitUntilServing()
        #expect(job.output.contains("serving on http://localhost:\(address.port)/v1"))
        #expect(job.stop() == 0)
        job.expectNothingLeft()
    }
}

/// What `apus status` and `apus jobs` see.
@Suite(.serialized) struct StatusTests {
    private func jobs(_ job: RunningJob, _ command: String) throws -> [[String: Any]] {
        let (status, output) = try job.apus([command, "--json"])
        #expect(status == 0, "\(output)")
        let all = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]
        return try #require(all?["jobs"] as? [[String: Any]])
    }

    @Test func `status shows every job, also one that was started by hand`() async throws {
        let job = try RunningJob(ranks: 2, transport: "auto")
        let http = try job.waitUntilServing()
        let file = try job.write("hand.yaml", "name: hand\nmodel: \(RunningJob.model)\n")
        let coordinator = Program()
        coordinator.executableURL = RunningJob.programs.appending(path: "apus-coordinator")
        coordinator.arguments = ["--job", file]
        coordinator.environment = job.environment.merging(["APUS_TOKEN": try job.token()]) { $1 }
        coordinator.standardError = FileHandle.nullDevice
        try coordinator.run()
        defer { coordinator.terminate() }
        // Its folder is there a moment before it listens.
        try await Wait.until("both jobs are there") {
            let found = try jobs(job, "status")
            return found.count == 2 && found.allSatisfy { $0["state"] as? String != "starting" }
        }
        let found = try jobs(job, "status")
        #expect(found.map { $0["name"] as? String } == ["hand", "test"])
        #expect(found.map { $0["state"] as? String } == ["join", "ready"])
        #expect(found[0]["pid"] as? Int == Int(coordinator.processIdentifier))
        #expect(found[1]["http"] as? String == "http://127.0.0.1:\(http.port)/v1")
        #expect((found[1]["subject"] as? String)?.hasSuffix("stories-fp8") == true)
        let members = (found[1]["snapshot"] as? [String: Any])?["members"] as? [Any]
        #expect(members?.count == 2)
        coordinator.interrupt()
        #expect(coordinator.exitStatus(within: 10) == 0)
        #expect(try jobs(job, "status").count == 1, "it takes its folder away")
        #expect(job.stop() == 0)
        #expect(try job.apus(["status"]).status == 2)
        #expect(try jobs(job, "jobs").map { $0["state"] as? String } == ["ended"])
        #expect(try job.apus(["jobs", "prune", "--keep", "0"]).output.contains("removed "))
        #expect(try jobs(job, "jobs").isEmpty)
    }
}
