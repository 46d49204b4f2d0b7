terraform {
  required_providers {
    airbyte = { source = "airbytehq/airbyte" }
  }
}
variable "api" { type = string }
variable "token" { type = string }
variable "workspace" { type = string }
variable "source_port" { type = number }
variable "target_port" { type = number }
variable "prefix" { type = string }

provider "airbyte" {
  server_url    = "${var.api}/api/public/v1"
  client_id     = "terraform"
  client_secret = var.token
  token_url     = "${var.api}/api/public/v1/applications/token"
}

resource "airbyte_source" "shop" {
  name          = "shop by terraform"
  workspace_id  = var.workspace
  definition_id = "decd338e-5647-4c0b-adf4-da0e75f5a750"
  configuration = jsonencode({
    host = "127.0.0.1", port = var.source_port, database = "postgres", username = "postgres"
    password = "unused", ssl_mode = { mode = "disable" }, schemas = ["public"]
    replication_method = {
      method = "CDC", replication_slot = "terraform", publication = "terraform", create = true
    }
  })
}

resource "airbyte_destination" "warehouse" {
  name          = "warehouse by terraform"
  workspace_id  = var.workspace
  definition_id = "25c5221d-dce2-4163-ade9-739ef790f503"
  configuration = jsonencode({
    host = "127.0.0.1", port = var.target_port, database = "postgres", username = "postgres"
    password = "unused", ssl_mode = { mode = "disable" }
  })
}

resource "airbyte_connection" "shop_to_warehouse" {
  name                                 = "by terraform"
  source_id                            = airbyte_source.shop.source_id
  destination_id                       = airbyte_destination.warehouse.destination_id
  prefix                               = var.prefix
  namespace_definition                 = "destination"
  non_breaking_schema_updates_behavior = "propagate_columns"
  status                               = "active"
  schedule = { schedule_type = "manual" }
  configurations = {
    streams = [{
      name = "orders", namespace = "public", sync_mode = "incremental_deduped_history"
      primary_key = [["id"]]
    }]
  }
}

output "connection" { value = airbyte_connection.shop_to_warehouse.connection_id }
