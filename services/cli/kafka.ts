import { readFileSync } from 'node:fs';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Settings } from '../../core/config/settings.ts';
import { stackUp } from '../../deploy/local/stack.ts';
import { KafkaClient } from '../../topics/kafka-client.ts';
import type { KafkaSettings } from '../../topics/wire/broker-connection.ts';

/** The Kafka of the settings; with no brokers given, the local stack's is started, and said so. */
export async function openKafka(
  settings: Settings,
  report: (line: string) => void = () => undefined,
): Promise<KafkaClient> {
  return new KafkaClient({
    kafka: { ...login(settings), brokers: await brokersOf(settings, report) },
    topicPrefix: settings.topicPrefix,
    schemaRegistryUrl: settings.schemaRegistryUrl,
    compression: settings.topicCompression,
  });
}

async function brokersOf(
  settings: Settings,
  report: (line: string) => void,
): Promise<readonly string[]> {
  if (settings.kafkaBrokers.length > 0) return settings.kafkaBrokers;
  report('HEADRACE_KAFKA_BROKERS is not set: using the Kafka of the local stack');
  const servers = await stackUp(['kafka'], { home: settings.home, report });
  return servers.filter((server) => server.name === 'kafka').map((server) => server.url);
}

function login(settings: Settings): Pick<KafkaSettings, 'tls' | 'sasl'> {
  const { kafkaSaslMechanism, kafkaSaslUsername, kafkaSaslPassword } = settings;
  return {
    tls: settings.kafkaTls ? tlsOf(settings) : null,
    sasl:
      kafkaSaslMechanism === null
        ? null
        : {
            mechanism: kafkaSaslMechanism,
            username: kafkaSaslUsername ?? '',
            password: kafkaSaslPassword ?? '',
          },
  };
}

/** Throws CFG_INVALID_SETTING for a file that cannot be read. */
export function tlsOf(
  settings: Pick<Settings, 'kafkaTlsCaFile' | 'kafkaTlsCertificateFile' | 'kafkaTlsKeyFile'>,
): NonNullable<KafkaSettings['tls']> {
  const ca = pem('HEADRACE_KAFKA_TLS_CA_FILE', settings.kafkaTlsCaFile);
  const cert = pem('HEADRACE_KAFKA_TLS_CERTIFICATE_FILE', settings.kafkaTlsCertificateFile);
  const key = pem('HEADRACE_KAFKA_TLS_KEY_FILE', settings.kafkaTlsKeyFile);
  return {
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
  };
}

function pem(setting: string, file: string | null): string | null {
  if (file === null) return null;
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    const message = `${setting}: the file ${file} cannot be read (${why})`;
    throw new PipelineError('CFG_INVALID_SETTING', message, { cause });
  }
}
