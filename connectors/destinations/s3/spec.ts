import type { ConnectorSpec } from '../../spi/connector.ts';
import { CODECS } from './codecs.ts';

/** What the configuration form shows. Fields that Airbyte has and we do not need are accepted and
 * have no effect, so that an exported configuration works as it is. */
export const spec: ConnectorSpec = {
  name: 's3',
  title: 'S3',
  definitionId: '4816b78f-1489-44c1-9060-4b19d5fa9362',
  dockerRepository: 'airbyte/destination-s3',
  documentationUrl: 'https://docs.airbyte.com/integrations/destinations/s3',
  supportedDestinationSyncModes: ['append', 'append_dedup', 'overwrite'],
  appendsByDefault: true,
  connectionSpecification: {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'S3 Destination Spec',
    type: 'object',
    required: ['s3_bucket_name', 's3_bucket_path', 's3_bucket_region', 'format'],
    additionalProperties: true,
    properties: {
      s3_bucket_name: { title: 'S3 Bucket Name', type: 'string', order: 0 },
      s3_bucket_path: {
        title: 'S3 Bucket Path',
        description:
          'Folder for the data; ${NAMESPACE} and ${STREAM_NAME} may be used. With ${STREAM_NAME} in it, files lie directly in the folder it names.',
        type: 'string',
        examples: ['airbyte-data/${NAMESPACE}/${STREAM_NAME}'],
        order: 1,
      },
      s3_bucket_region: {
        title: 'S3 Bucket Region',
        type: 'string',
        default: 'us-east-1',
        order: 2,
      },
      s3_endpoint: {
        title: 'Endpoint',
        description:
          'For stores other than Amazon S3. http:// is plain HTTP; path-style addressing is used. file:///folder is a folder of this machine: buckets are folders in it, and no keys are needed.',
        type: 'string',
        examples: ['http://minio:9000', 'file:///srv/lake'],
        order: 3,
      },
      access_key_id: { title: 'S3 Key ID', type: 'string', airbyte_secret: true, order: 4 },
      secret_access_key: { title: 'S3 Access Key', type: 'string', airbyte_secret: true, order: 5 },
      s3_path_format: {
        title: 'S3 Path Format',
        description:
          'Path below the bucket path, obeyed literally. ${NAMESPACE}, ${STREAM_NAME}, ${YEAR}, ${MONTH}, ${DAY}, ${HOUR}, ${MINUTE}, ${SECOND}, ${MILLISECOND}, ${EPOCH}, ${UUID}.',
        type: 'string',
        order: 6,
      },
      file_name_pattern: {
        title: 'File Name Pattern',
        description:
          '{date}, {date:yyyy_MM}, {timestamp}, {part_number}, {sync_id}, {format_extension}.',
        type: 'string',
        order: 7,
      },
      format: {
        title: 'Output Format',
        type: 'object',
        order: 8,
        required: ['format_type'],
        properties: {
          format_type: { type: 'string', enum: ['Parquet'], default: 'Parquet' },
          compression_codec: {
            title: 'Compression Codec',
            type: 'string',
            enum: CODECS,
            default: 'SNAPPY',
          },
          block_size_mb: { title: 'Block Size (MB)', type: 'integer', default: 128 },
          flattening: {
            title: 'Flattening',
            description:
              'Root level flattening: fields of JSON columns are columns of their own too (contact_email beside contact).',
            type: 'string',
            enum: ['Root level flattening', 'No flattening'],
            default: 'Root level flattening',
          },
          page_size_kb: { title: 'Page Size (KB)', type: 'integer', default: 1024 },
        },
      },
      rotation_seconds: {
        title: 'Longest wait',
        description: 'A file is finished at the latest this many seconds after its first row.',
        type: 'number',
        default: 60,
        order: 9,
      },
      rotation_rows: { title: 'Most rows a file', type: 'integer', default: 250000, order: 10 },
      partition_by: {
        title: 'Date folders',
        description: 'dt=YYYY-MM-DD (and hour=HH) folders by the commit time at the source, UTC.',
        type: 'string',
        enum: ['none', 'day', 'hour'],
        default: 'none',
        order: 11,
      },
      generation_retention_seconds: {
        title: 'Replaced generations stay',
        description:
          'So many seconds the files of a replaced generation, or those that were joined, stay for readers that have begun with them.',
        type: 'number',
        default: 900,
        order: 12,
      },
      join_small_files: {
        title: 'Join small files',
        description:
          'Mode append: small files are put together in the background, up to the block size. Readers must then leave out files whose offsets lie within those of another (docs/lake.md); replaced files stay for generation_retention_seconds.',
        type: 'boolean',
        default: false,
        order: 14,
      },
      join_from_files: {
        title: 'Fewest files to join',
        description: 'So many neighbouring small files are worth being joined.',
        type: 'integer',
        default: 10,
        minimum: 2,
        order: 15,
      },
      plain_folder: {
        title: 'Plain folder',
        description:
          "Modes append_dedup and overwrite: the newest generation's files lie in the stream's folder too, for readers that take all files of a folder. Off, only the manifests say what the rows are, and half the space is needed.",
        type: 'boolean',
        default: true,
        order: 13,
      },
    },
  },
};
