import Foundation
import Yams

extension JobConfiguration {
    /// Reads a job file, fills in defaults, makes its paths absolute, and checks it all.
    ///
    /// Relative paths begin at the file's folder.
    ///
    /// - Throws: `ClusterError.badInput` with the file and what is wrong in it.
    public init(contentsOf path: String) throws(ClusterError) {
        let file = URL(filePath: path)
        let text: String
        do {
            let bytes = try Data(contentsOf: file)
            guard bytes.count <= JobFile.largestBytes else {
                throw ClusterError.badInput(
                    "\(path): \(bytes.count) bytes: a job has at most \(JobFile.largestBytes)")
            }
            text = String(decoding: bytes, as: UTF8.self)
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput("\(path): \(error.localizedDescription)")
        }
        try self.init(yaml: text, path: path)
        switch work {
        case .serve(var serving):
            serving.model = Self.absolute(serving.model, beside: file)
            while serving.model.count > 1, serving.model.hasSuffix("/") {
                serving.model.removeLast()
            }
            work = .serve(serving)
        case .train(var training):
            training.file = Self.absolute(training.file, beside: file)
            work = .train(training)
        }
        if !lab.isEmpty { lab = Self.absolute(lab, beside: file) }
    }

    private static func absolute(_ path: String, beside file: URL) -> String {
        URL(filePath: path, relativeTo: file.absoluteURL.deletingLastPathComponent())
            .standardizedFileURL.path(percentEncoded: false)
    }

    /// Reads the text of a job file; `path` is only for messages.
    public init(yaml: String, path: String) throws(ClusterError) {
        self = try JobFile(yaml: yaml, path: path).configuration(path: path)
    }

    /// The whole configuration as YAML, as it is kept beside a job's logs.
    public func yaml() throws(ClusterError) -> String {
        do {
            return try YAMLEncoder().encode(JobFile(self))
        } catch {
            throw .badInput("the job \(name) cannot be written as YAML: \(error)")
        }
    }

    /// A fingerprint of what all ranks must agree on: all but where this node keeps its files, and
    /// where the coordinator listens.
    package func digest() throws(ClusterError) -> String {
        var common = JobFile(self)
        common.model = ""
        common.train.file = ""
        common.lab = ""
        common.control = JobFile().control
        common.http = JobFile().http
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            var fingerprint = Fingerprint()
            fingerprint.add(try encoder.encode(common))
            return fingerprint.text
        } catch {
            throw .badInput("the job \(name) cannot be encoded: \(error)")
        }
    }
}
