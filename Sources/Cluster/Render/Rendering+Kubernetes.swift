import Foundation
import Topology

extension Rendering {
    /// A LeaderWorkerSet of one group whose leader is rank 0, with the job file as a Secret, a
    /// Service for the API and a budget that keeps the group whole.
    func kubernetes() throws(ClusterError) -> String {
        guard job.hosts.isEmpty else {
            throw .badInput("\(file): hosts: Kubernetes chooses the nodes; take the key out")
        }
        guard let serving = job.serving else {
            throw .badInput(
                "\(file): kubernetes is rendered for jobs that serve: a training job's files are"
                    + " more than one object holds")
        }
        let name = try resourceName()
        let folder = "/models/\(URL(filePath: serving.model).lastPathComponent)"
        return [
            heading(name, folder), try secret(name, folder), set(name), service(name),
            budget(name),
        ].joined(separator: "---\n")
    }

    /// The job's name as Kubernetes takes one: RFC 1123, lower case.
    private func resourceName() throws(ClusterError) -> String {
        let isFit =
            job.name.allSatisfy { $0 == "-" || $0.isNumber || $0.isLowercase }
            && job.name.first?.isLetter == true && job.name.last != "-" && job.name.count <= 50
        guard isFit else {
            throw .badInput(
                "\(file): name \"\(job.name)\" is not a name in Kubernetes: at most 50 small"
                    + " letters, digits and dashes, a letter first")
        }
        return job.name
    }

    private func heading(_ name: String, _ folder: String) -> String {
        """
        # \(name): \(job.ranks) ranks, one pod each; needs the LeaderWorkerSet controller.
        #
        #   openssl rand -hex 32 | tr -d '\\n' |
        #     kubectl create secret generic \(name)-token --from-file=token=/dev/stdin
        #   kubectl apply -f THIS
        #
        # The claim \(name)-models holds the model's folder as \(folder).
        # A pod's memory holds its share of the weights and its cache: set requests and limits so.

        """
    }

    /// The job as its pods read it: their own paths, a coordinator beside the leader, and an API
    /// that the Service reaches. A Secret, because a job may hold API keys.
    private func secret(_ name: String, _ folder: String) throws(ClusterError) -> String {
        var own = job
        own.tokenFile = ""
        own.control = Endpoint(
            address: "127.0.0.1", port: job.control.isPath ? 0 : job.control.port)
        own.http = Endpoint(address: "0.0.0.0", port: job.http.port == 0 ? 8080 : job.http.port)
        if var serving = own.serving {
            serving.model = folder
            own.serving = serving
        }
        let text = try own.yaml().split(separator: "\n", omittingEmptySubsequences: true)
            .map { "    \($0)" }.joined(separator: "\n")
        return """
            apiVersion: v1
            kind: Secret
            metadata:
              name: \(name)-job
            stringData:
              job.yaml: |
            \(text)

            """
    }

    private func set(_ name: String) -> String {
        // The first start reads weights; later ones are as slow where nothing caches them.
        let tries = Int((job.deadlines.loadSeconds + job.deadlines.joinSeconds) / 10) + 1
        return """
            apiVersion: leaderworkerset.x-k8s.io/v1
            kind: LeaderWorkerSet
            metadata:
              name: \(name)
            spec:
              replicas: 1
              leaderWorkerTemplate:
                size: \(job.ranks)
                \(restartComment)
                restartPolicy: \(job.survivesLosses ? "None" : "RecreateGroupOnPodRestart")
                leaderTemplate:
                  metadata:
                    labels: {app: \(name), role: leader}
                  spec:
            \(pod(name, probes: probes(tries)))
                workerTemplate:
                  metadata:
                    labels: {app: \(name), role: worker}
                  spec:
            \(pod(name, probes: ""))

            """
    }

    private var restartComment: String {
        job.survivesLosses
            ? "# A job goes on without a lost rank, which starts again alone and comes back."
            : "# A job with a lost rank ends, and all of it starts again."
    }

    private var port: Int { job.http.port == 0 ? 8080 : job.http.port }

    /// The leader alone answers; a worker that fails is told by the job, not by a probe.
    private func probes(_ tries: Int) -> String {
        """

            ports: [{name: http, containerPort: \(port)}]
            startupProbe:
              httpGet: {path: /health, port: http}
              periodSeconds: 10
              failureThreshold: \(tries)
            readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 5}
            livenessProbe:
              httpGet: {path: /ping, port: http}
              periodSeconds: 10
              failureThreshold: 6
        """
    }

    private func pod(_ name: String, probes: String) -> String {
        let text = """
            terminationGracePeriodSeconds: \(Int(job.deadlines.drainSeconds.rounded(.up)) + 20)
            containers:
              - name: rank
                image: \(Self.quoted(options.image))
                command: [\(Self.quoted(program("apus-worker"))), /etc/apus/job.yaml]
                env:
                  - {name: APUS_TOKEN, valueFrom: {secretKeyRef: {name: \(name)-token, key: token}}}
                resources: {requests: {cpu: "\(job.threads)"}}
                volumeMounts:
                  - {name: job, mountPath: /etc/apus}
                  - {name: models, mountPath: /models, readOnly: true}\(probes)
            volumes:
              - {name: job, secret: {secretName: \(name)-job}}
              - {name: models, persistentVolumeClaim: {claimName: \(name)-models, readOnly: true}}
            """
        return text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { "          \($0)" }.joined(separator: "\n")
    }

    /// A text as YAML and units read it back, in double quotes.
    static func quoted(_ text: String) -> String {
        let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\"\(escaped)\""
    }

    private func service(_ name: String) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata:
          name: \(name)
        spec:
          selector: {app: \(name), role: leader}
          ports: [{name: http, port: 80, targetPort: http}]

        """
    }

    private func budget(_ name: String) -> String {
        """
        apiVersion: policy/v1
        kind: PodDisruptionBudget
        metadata:
          name: \(name)
        spec:
          maxUnavailable: 0
          selector: {matchLabels: {app: \(name)}}

        """
    }
}
